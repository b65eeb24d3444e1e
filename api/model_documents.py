"""How models look on the wire: what a version is, and how each of them does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api.serving import state_of
from shared.errors import ManifestError, ShadowGivenUpError
from shared.job_store.model_reports import Comparison, Known, ModelReports, Usage, VersionReport
from shared.manifest import Manifest
from shared.model_repository import ModelRepository


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the store knows of all model versions; empty while it is out of reach."""

    known: Known = field(default_factory=Known)
    usage: Mapping[str, Usage] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()

    @classmethod
    def read(cls, reports: ModelReports) -> "Standing":
        """Raises StoreUnavailableError."""
        return cls(
            known=reports.known(),
            usage=reports.usage(),
            comparisons=tuple(reports.comparisons()),
        )


def model_document(
    manifest: Manifest, repository: ModelRepository, standing: Standing
) -> dict[str, Any]:
    """A model by one of its manifests, and each version by what became of it.

    Nothing of the server's paths is in it. Raises AliasError.
    """
    name = manifest.name
    # One that was removed since its manifest was read is still the one that is asked for.
    versions = repository.versions(name) or [manifest.version]
    return {
        "name": name,
        "version": manifest.version,
        "latest": versions[-1],
        "aliases": repository.aliases(name).model_dump(),
        "versions": [_version_document(name, v, repository, standing) for v in versions],
        "comparisons": [
            _comparison_document(found)
            for found in standing.comparisons
            if found.version_id.startswith(f"{name}/")
        ],
        "description": manifest.description,
        "created_at": _time(manifest),
        "artifact": {
            "format": manifest.artifact.format,
            "sha256": manifest.artifact.sha256,
            "bytes": manifest.artifact.bytes,
        },
        "ensemble": manifest.ensemble.model_dump(mode="json") if manifest.ensemble else None,
        "signature": manifest.signature.model_dump(mode="json"),
        "metrics": manifest.metrics,
        "libraries": manifest.libraries,
    }


def _version_document(
    name: str, version: str, repository: ModelRepository, standing: Standing
) -> dict[str, Any]:
    version_id = f"{name}/{version}"
    usage = standing.usage.get(version_id, Usage())
    rows = usage.succeeded + usage.failed
    manifest = _readable(repository, name, version)
    reports = _reports(version_id, manifest, standing.known)
    return {
        "version": version,
        "created_at": _time(manifest) if manifest else None,
        "state": state_of(repository, name, version, standing.known),
        "error": _error(version_id, manifest, standing.known),
        "warnings": list(dict.fromkeys(r.warning for r in reports if r.warning)),
        "jobs": usage.jobs,
        "rows": rows,
        "error_rate": round(usage.failed / rows, 6) if rows else None,
        "rows_per_second": usage.rows_per_second,
    }


def _readable(repository: ModelRepository, name: str, version: str) -> Manifest | None:
    try:
        return repository.manifest(name, version)
    except ManifestError:
        return None


def _reports(version_id: str, manifest: Manifest | None, known: Known) -> list[VersionReport]:
    return known.reports_on(version_id, manifest.artifact.sha256 if manifest else None)


def _error(version_id: str, manifest: Manifest | None, known: Known) -> dict[str, str] | None:
    """Why a version can't be used, by the first worker that says so, or not as a shadow."""
    for report in _reports(version_id, manifest, known):
        if report.has_failed:
            return {"code": report.code, "detail": report.detail}
    if manifest is None:
        return {"code": ManifestError.code, "detail": "The manifest can't be read."}
    if known.is_given_up(version_id, manifest.artifact.sha256):
        return {"code": ShadowGivenUpError.code, "detail": str(ShadowGivenUpError(version_id))}
    return None


def _comparison_document(found: Comparison) -> dict[str, Any]:
    return {
        "version": found.version_id.rpartition("/")[2],
        "shadow": found.shadow_version_id.rpartition("/")[2],
        "output": found.output,
        "rows": found.rows,
        "rows_skipped": found.skipped,
        "agreement": round(found.agreed / found.rows, 6) if found.rows else None,
        "mean_absolute_difference": found.difference,
    }


def _time(manifest: Manifest) -> str:
    return manifest.created_at.isoformat().replace("+00:00", "Z")
