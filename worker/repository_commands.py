"""Commands of `rowmill models` that change a model repository on this machine's disk.

The command line knows them by their entry points (`rowmill.models` in `pyproject.toml`): it speaks
HTTP and imports nothing of what they need.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import pandas as pd

from shared.aliases import Alias
from shared.errors import ManifestError, ModelError, PublishError
from shared.job_store.model_reports import VersionReport
from shared.manifest import ArtifactFormat, Manifest
from shared.model_repository import ModelRepository, Reference
from shared.repository_editor import RepositoryEditor
from shared.settings import Settings
from worker.model_files import read_estimator
from worker.model_loader import ModelLoader
from worker.model_trial import failure, try_apart, try_version
from worker.publishing import own_repository
from worker.publishing import publish as publish_estimator

Command = TypeVar("Command", bound=Callable[..., None])

repository_option = click.option(
    "--repository",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The model repository.  [default: ROWMILL_MODELS_DIR, else ./models]",
)
_METRIC = re.compile(r"(?P<name>[^=]+)=(?P<value>.+)")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="The model that it is a version of.")
@click.option(
    "--sample",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV of rows as it was trained on, best all of them.",
)
@click.option("--description", default="", help="What the model is, in a line.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME=NUMBER", help="How good it is.")
@click.option("--output-name", "output_names", multiple=True, help="Names the columns of predict.")
@click.option(
    "--trust",
    "trusted_types",
    multiple=True,
    metavar="TYPE",
    help="A class that a .skops file may hold.",
)
@click.option("--class", "classes", multiple=True, help="Names a class of an ONNX file, in order.")
@click.option(
    "--format",
    "artifact_format",
    type=click.Choice([ArtifactFormat.SKOPS, ArtifactFormat.JOBLIB]),
    default=ArtifactFormat.SKOPS,
    show_default=True,
    help="How a scikit-learn model is kept; an ONNX file stays one.",
)
@repository_option
def publish(
    *,
    file: Path,
    sample: Path,
    metrics: Sequence[str],
    repository: Path | None,
    trusted_types: Sequence[str],
    classes: Sequence[str],
    **options: Any,  # name, description, output_names, artifact_format, as `publish` takes them
) -> None:
    """Publish FILE (.joblib, .pkl, .skops or .onnx) as the next version of a model.

    A .joblib or .pkl file runs code when it is opened: publish only files that you made. Publishing
    the same model once more changes nothing.
    """
    with _one_line_errors():
        home = repository or own_repository()
        before = ModelRepository(home).versions(options["name"])
        estimator = read_estimator(file, trusted_types=trusted_types, classes=classes)
        manifest = publish_estimator(
            estimator,
            sample=_sample(sample, estimator),
            repository=home,
            metrics=dict(map(_metric, metrics)),
            trusted_types=trusted_types,
            **options,
        )
    is_known = manifest.version in before
    click.echo(f"{'unchanged' if is_known else 'published'} {manifest.version_id}")


def _metric(text: str) -> tuple[str, float]:
    match = _METRIC.fullmatch(text)
    try:
        return match["name"], float(match["value"])  # type: ignore[index]
    except (TypeError, ValueError) as error:
        raise click.BadParameter(f"'{text}' is not like r2=0.93.", param_hint="--metric") from error


def _sample(path: Path, estimator: Any) -> pd.DataFrame:
    """The columns of a table that the model was fitted on; all if it does not know."""
    table = pd.read_csv(path)
    names = [str(name) for name in getattr(estimator, "feature_names_in_", table.columns)]
    if missing := [name for name in names if name not in table]:
        raise PublishError(f"The sample lacks columns of the model: {', '.join(missing)}.")
    return table[names]


@click.command()
@click.argument("name")
@click.argument("alias")
@click.argument("version", required=False)
@click.option("--weight", type=float, help="Share of the jobs that name only the model.")
@click.option("--shadow", is_flag=True, help="Only compare it with the versions that answer.")
@click.option("--remove", "is_removed", is_flag=True, help="Take the alias away.")
@repository_option
def alias(
    *,
    name: str,
    alias: str,
    version: str | None,
    weight: float | None,
    shadow: bool,
    is_removed: bool,
    repository: Path | None,
) -> None:
    """Point ALIAS of model NAME at VERSION, or take it away."""
    if is_removed == (version is not None):
        raise click.UsageError("Give a VERSION, or --remove without one.")
    with _one_line_errors():
        target = None
        if version is not None:
            target = _alias(version, weight=weight, shadow=shadow)
        aliases = RepositoryEditor(_repository(repository)).set_alias(name, alias, target)
    for known, points_to in sorted(aliases.root.items()):
        share = f" {points_to.weight:.2%}" if points_to.weight is not None else ""
        click.echo(f"{name}@{known} → {points_to.version}{share}{' shadow' * points_to.shadow}")


def _alias(version: str, *, weight: float | None, shadow: bool) -> Alias:
    try:
        return Alias(version=version, weight=weight, shadow=shadow)
    except ValueError as error:
        message = "VERSION is a number, --weight is above 0 and at most 1, a --shadow has none."
        raise click.UsageError(message) from error


@click.command()
@click.argument("references", nargs=-1)
@repository_option
def verify(*, references: Sequence[str], repository: Path | None) -> None:
    """Open model versions, score their examples and say what is wrong; all of them by default.

    REFERENCES are name, name@alias or name:version. Exit code 1 if one of them can't serve.
    """
    settings, is_sound = Settings(), True
    with _one_line_errors():
        found = _repository(repository)
        wanted = [_version(found, text) for text in references] or list(_all_versions(found))
    loader = ModelLoader.by(settings, found)
    for name, version in wanted:
        report = _verified(loader, name, version, seconds=settings.chunk_time_limit_seconds)
        is_sound = is_sound and report.is_ready
        said = f"{report.code}: {report.detail}" if report.has_failed else report.warning
        click.echo(f"{name}/{version}  {'ok' if report.is_ready else 'FAILED'}  {said}".rstrip())
    if not is_sound:
        raise click.exceptions.Exit(1)


def _verified(loader: ModelLoader, name: str, version: str, *, seconds: float) -> VersionReport:
    def attempt(manifest: Manifest) -> VersionReport:
        return try_version(loader, manifest)

    try:
        manifest = loader.repository.manifest(name, version)
    except ManifestError as error:
        return failure(error, "")
    return try_apart(manifest, attempt, seconds=seconds)


def _version(repository: ModelRepository, text: str) -> tuple[str, str]:
    reference = Reference.parse(text)
    return reference.name, repository.version_of(reference)


def _all_versions(repository: ModelRepository) -> Iterator[tuple[str, str]]:
    for name in repository.names():
        for version in repository.versions(name):
            yield name, version


@click.command()
@click.argument("reference", metavar="NAME:VERSION")
@repository_option
def remove(*, reference: str, repository: Path | None) -> None:
    """Delete one version. An alias that points to it must be moved first."""
    with _one_line_errors():
        wanted = Reference.parse(reference)
        if wanted.version is None:
            raise click.UsageError("Say which version, as in churn:3.")
        RepositoryEditor(_repository(repository)).remove(wanted.name, wanted.version)
    click.echo(f"removed {wanted.name}/{wanted.version}")


def _repository(path: Path | None) -> ModelRepository:
    return ModelRepository(path or own_repository())


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Rowmill's errors as the command line shows its own."""
    try:
        yield
    except ModelError as error:
        raise click.ClickException(" ".join(str(error).split())) from error
