"""A job's rows beside what its model was trained on, as far as the model is still there."""

from shared import drift
from shared.drift import FeatureDrift
from shared.errors import ManifestError
from shared.jobs import Job
from shared.manifest import Manifest
from shared.model_repository import ModelRepository


def compared(job: Job, repository: ModelRepository) -> list[FeatureDrift]:
    """The features of a job's model; none if the version was taken out of the repository."""
    manifest = manifest_of(job, repository)
    if manifest is None:
        return []
    return drift.compare(job.feature_counts, manifest.signature, manifest.statistics)


def drift_warnings(job: Job, repository: ModelRepository) -> list[str]:
    """What callers should know of a job's rows before they trust its predictions."""
    if not job.feature_counts.sums:
        return []
    manifest = manifest_of(job, repository)
    if manifest is None:
        return []
    return drift.warnings(job.feature_counts, manifest.signature, manifest.statistics)


def manifest_of(job: Job, repository: ModelRepository) -> Manifest | None:
    """The manifest of the version that scores the job, and not of another one in its place."""
    try:
        manifest = repository.manifest(job.spec.model_name, job.spec.model_version)
    except ManifestError:
        return None
    return manifest if manifest.artifact.sha256 == job.spec.model_sha256 else None
