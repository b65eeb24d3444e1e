"""Puts an ensemble of published versions into the model repository, as a version of its own."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from shared.errors import PublishError, quoted
from shared.manifest import Artifact, ArtifactFormat, Combination, Ensemble, Manifest, Member
from shared.model_repository import ModelRepository
from shared.repository_editor import RepositoryEditor
from shared.settings import Settings
from shared.signature import Dtype, Feature, Signature
from worker import cells, outputs
from worker.ensemble_model import EnsembleModel
from worker.ensemble_signature import merged_signature, merged_statistics
from worker.model_loader import ModelLoader
from worker.reasons import first_line
from worker.repository_home import own_repository

MAX_MODELS = 20
"""Fitted models that one ensemble may open, those of ensembles in it included: a process holds all
of them, and a row takes the time of all of them."""

MAX_DEPTH = 3
"""Ensembles that may stand on one another. Who looks for a cause goes through all of them."""


def publish_ensemble(
    members: Sequence[str],
    *,
    name: str,
    combination: Combination | str,
    final: str | None = None,
    repository: Path | None = None,
    description: str = "",
    metrics: Mapping[str, float] | None = None,
    sample: pd.DataFrame | None = None,
) -> Manifest:
    """Write a new version of model `name` that combines others; returns its manifest. Atomic.

    `members` and `final` are model references; what they mean now is pinned, so a newer version of
    a member changes nothing. `final`: of a stack, the model that was fitted on the members'
    predictions. Members must predict one column each. The ensemble scores `sample`, or a row of
    its features' examples, before anything is written. `repository`: as for `publish`. Raises
    PublishError, and ModelError of other kinds for a member that can't be found or opened.
    """
    models = ModelRepository(repository or own_repository())
    taking_part = [models.resolve(reference) for reference in members]
    last = models.resolve(final) if final is not None else None
    ensemble = _pinned(taking_part, combination, final=last)
    _check_extent(ensemble, models)
    signature = merged_signature(taking_part, ensemble.combination, final=last)
    loader = ModelLoader.by(Settings(), models)
    _check_that_it_scores(loader.assemble(ensemble, signature), signature, sample)

    def write(path: Path) -> tuple[str, ...]:
        path.write_text(ensemble.model_dump_json(indent=2) + "\n")
        return ()

    def describe(version: str, artifact: Artifact) -> Manifest:
        return Manifest(
            name=name,
            version=version,
            description=description or _description(ensemble),
            created_at=datetime.now(UTC),
            artifact=artifact,
            signature=signature,
            statistics=merged_statistics(taking_part, signature),
            ensemble=ensemble,
            metrics=dict(metrics or {}),
            fingerprint=artifact.sha256,
        )

    editor = RepositoryEditor(models)
    return editor.publish(name, write, artifact_format=ArtifactFormat.ENSEMBLE, describe=describe)


def _pinned(
    members: Sequence[Manifest], combination: Combination | str, *, final: Manifest | None
) -> Ensemble:
    """The ensemble of these very versions."""
    if combination not in list(Combination):
        known = ", ".join(Combination)
        raise PublishError(f"{quoted(combination)} is no combination; there are {known}.")
    if (final is not None) != (combination == Combination.STACK):
        raise PublishError("A stack needs a final model, and nothing else has one.")
    versions = [member.version_id for member in members]
    if not versions:
        raise PublishError("An ensemble needs members; name at least one model.")
    if len(set(versions)) < len(versions):
        twice = next(version for version in versions if versions.count(version) > 1)
        raise PublishError(f"'{twice}' is named twice; name each member once.")
    return Ensemble(
        members=tuple(_member(member) for member in members),
        combination=Combination(combination),
        final=_member(final) if final is not None else None,
    )


def _member(manifest: Manifest) -> Member:
    return Member(name=manifest.name, version=manifest.version, sha256=manifest.artifact.sha256)


def _description(ensemble: Ensemble) -> str:
    """What an ensemble is, for those who see nothing else of it."""
    members = ", ".join(member.version_id for member in ensemble.members)
    end = f" by {ensemble.final.version_id}" if ensemble.final else ""
    return f"{ensemble.combination.capitalize()} of {members}{end}."


def _check_extent(ensemble: Ensemble, repository: ModelRepository) -> None:
    depth, models = _extent(ensemble, repository)
    if depth > MAX_DEPTH:
        raise PublishError(
            f"{depth} ensembles would stand on one another, {MAX_DEPTH} may; "
            "name the members of the inner ones instead."
        )
    if models > MAX_MODELS:
        raise PublishError(
            f"The ensemble would open {models} models, {MAX_MODELS} may be; name fewer members."
        )


def _extent(ensemble: Ensemble, repository: ModelRepository) -> tuple[int, int]:
    """How many ensembles stand on one another, and how many fitted models are in all of them."""
    named = [*ensemble.members, *([ensemble.final] if ensemble.final else [])]
    manifests = [repository.manifest(member.name, member.version) for member in named]
    inner = [_extent(m.ensemble, repository) if m.ensemble else (0, 1) for m in manifests]
    return 1 + max(depth for depth, _ in inner), sum(models for _, models in inner)


def _check_that_it_scores(
    model: EnsembleModel, signature: Signature, sample: pd.DataFrame | None
) -> None:
    """Raise PublishError unless the model gives all that the signature offers."""
    rows = pd.DataFrame([_examples(signature)]) if sample is None else sample.rename(columns=str)
    missing = [feature.name for feature in signature.features if feature.name not in rows]
    if missing:
        raise PublishError(f"The sample has no column {', '.join(map(quoted, missing))}.")
    for output in signature.outputs:
        try:
            columns = {f.name: _as_read(rows[f.name], f) for f in signature.features}
            outputs.call(model, output, pd.DataFrame(columns))
        except Exception as error:  # an estimator may raise anything
            meant = (
                "the examples of its features; pass a sample" if sample is None else "its sample"
            )
            raise PublishError(f"The ensemble can't score {meant}: {first_line(error)}") from error


def _examples(signature: Signature) -> dict[str, object]:
    return {feature.name: feature.example for feature in signature.features}


def _as_read(column: "pd.Series[Any]", feature: Feature) -> "pd.Series[Any]":
    """A column in the type that reading a CSV would give it."""
    is_text = feature.dtype in (Dtype.STRING, Dtype.BOOL)
    return cells.converted(column.astype("str" if is_text else "float64"), feature)
