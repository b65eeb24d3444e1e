"""Commands of `rowmill models` that change a model repository on this machine's disk.

The command line knows them by their entry points (`rowmill.models` in `pyproject.toml`): it speaks
HTTP and imports nothing of what they need. Exit codes: 0 good, 1 failed, 2 wrong usage.

scikit-learn takes two seconds to import, so it is imported only by the commands that open models.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shared.aliases import Alias, Aliases
from shared.errors import AliasError, ManifestError
from shared.job_store.model_reports import VersionReport
from shared.manifest import VERSION_PATTERN, ArtifactFormat, Manifest
from shared.model_repository import ModelRepository, Reference
from shared.repository_editor import RepositoryEditor
from shared.settings import Settings
from worker.command_options import (
    FILE,
    check_alias_names,
    json_option,
    parse_metrics,
    repository_option,
)
from worker.command_output import one_line_errors, show
from worker.repository_home import own_repository

if TYPE_CHECKING:
    from worker.model_loader import ModelLoader


@click.command()
@click.argument("file", type=FILE)
@click.option("--name", required=True, help="The model that it is a version of.")
@click.option(
    "--sample", required=True, type=FILE, help="CSV of rows as it was trained on, best all of them."
)
@click.option("--description", default="", help="What the model is, in a line.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME=NUMBER",
    callback=parse_metrics,
    help="How good it is.",
)
@click.option(
    "--alias",
    "aliases",
    multiple=True,
    callback=check_alias_names,
    help="Point this alias at the version, too; a weight that it has stays.",
)
@click.option("--output-name", "output_names", multiple=True, help="Names the columns of predict.")
@click.option(
    "--trust",
    "trusted_types",
    multiple=True,
    metavar="TYPE",
    help="A class of another package than scikit-learn that the model holds.",
)
@click.option("--class", "classes", multiple=True, help="Names a class of an ONNX file, in order.")
@click.option(
    "--format",
    "artifact_format",
    # Of the members of an enumeration click would take the names.
    type=click.Choice([str(ArtifactFormat.SKOPS), str(ArtifactFormat.JOBLIB)]),
    callback=lambda _context, _option, value: ArtifactFormat(value),
    default=str(ArtifactFormat.SKOPS),
    show_default=True,
    help="How a scikit-learn model is kept; an ONNX file stays one.",
)
@repository_option
@json_option
def publish(
    *,
    file: Path,
    name: str,
    sample: Path,
    aliases: Sequence[str],
    repository: Path | None,
    trusted_types: Sequence[str],
    classes: Sequence[str],
    is_json: bool,
    **options: Any,  # description, metrics, output_names, artifact_format, as `publish` takes them
) -> None:
    """Publish FILE (.joblib, .pkl, .skops or .onnx) as the next version of a model.

    \b
    rowmill models publish model.joblib --name churn --sample sample.csv

    A .joblib or .pkl file runs code when it is opened: publish only files that you made. Columns of
    the sample that the model does not know are left out. Publishing the same model once more
    changes nothing.
    """
    from worker.model_files import read_estimator, read_sample
    from worker.publishing import publish as publish_estimator

    with one_line_errors(), _modules_of_this_directory():
        home = _repository(repository)
        before = home.versions(name)
        estimator = read_estimator(file, trusted_types=trusted_types, classes=classes)
        manifest = publish_estimator(
            estimator,
            name=name,
            sample=read_sample(sample, estimator),
            repository=home.root,
            trusted_types=trusted_types,
            **options,
        )
        there_are = _point(home, manifest, aliases)
    what = "unchanged" if manifest.version in before else "published"
    document = {
        "name": name,
        "version": manifest.version,
        "status": what,
        "sha256": manifest.artifact.sha256,
        "aliases": there_are.of(manifest.version),
    }
    lines = [(f"{what} {manifest.version_id}",)]
    lines += [(f"{name}@{alias} → {manifest.version}",) for alias in aliases]
    show(document, lines, is_json=is_json)


def _point(repository: ModelRepository, manifest: Manifest, aliases: Sequence[str]) -> Aliases:
    """Move aliases to a version and return all that there are now; none if nobody can read them."""
    editor = RepositoryEditor(repository)
    try:
        known = repository.aliases(manifest.name)
    except AliasError:  # setting one begins anew
        known = Aliases({})
    for alias in aliases:
        before = known.root.get(alias, Alias(version=manifest.version))
        target = before.model_copy(update={"version": manifest.version})
        known = editor.set_alias(manifest.name, alias, target)
    return known


@contextmanager
def _modules_of_this_directory() -> Iterator[None]:
    """Lets a model hold classes of modules here, where workers are started, too."""
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


@click.command()
@click.argument("name")
@click.argument("alias")
@click.argument("version", required=False)
@click.option("--weight", type=float, help="Share of the jobs that name only the model.")
@click.option("--shadow", is_flag=True, help="Only compare it with the versions that answer.")
@click.option("--remove", "is_removed", is_flag=True, help="Take the alias away.")
@repository_option
@json_option
def alias(
    *,
    name: str,
    alias: str,
    version: str | None,
    weight: float | None,
    shadow: bool,
    is_removed: bool,
    repository: Path | None,
    is_json: bool,
) -> None:
    """Point ALIAS of model NAME at VERSION, or take it away; prints all aliases there are now.

    \b
    rowmill models alias churn champion 1               what jobs get that name only the model
    rowmill models alias churn challenger 2 --shadow    compared, and answers nobody
    rowmill models alias churn canary 2 --weight 0.05   gets five of a hundred jobs
    rowmill models alias churn canary --remove
    """
    if is_removed == (version is not None):
        raise click.UsageError("Give a VERSION to point to, or --remove without one.")
    if is_removed and (shadow or weight is not None):
        raise click.UsageError("--remove takes neither --weight nor --shadow.")
    target = None if version is None else _alias(version, weight=weight, shadow=shadow)
    with one_line_errors():
        found = _repository(repository)
        _warn_of_unreadable(found, name)
        aliases = RepositoryEditor(found).set_alias(name, alias, target)
    lines = [_alias_line(name, known, to) for known, to in sorted(aliases.root.items())]
    show({"name": name, "aliases": aliases.model_dump()}, lines, is_json=is_json)


def _warn_of_unreadable(repository: ModelRepository, name: str) -> None:
    try:
        repository.aliases(name)
    except AliasError:
        message = f"Warning: the aliases of '{name}' can't be read; their file is begun anew."
        click.echo(message, err=True)


def _alias(version: str, *, weight: float | None, shadow: bool) -> Alias:
    if not re.fullmatch(VERSION_PATTERN, version):
        raise click.UsageError(f"VERSION '{version}' is no number; write it like 3.")
    if weight is not None and not 0 < weight <= 1:
        raise click.UsageError(
            f"--weight {weight:g} is no share; it is above 0 and at most 1, as 0.3 for 30 %."
        )
    if shadow and weight is not None:
        raise click.UsageError("A --shadow answers no job, so it has no --weight; leave one out.")
    return Alias(version=version, weight=weight, shadow=shadow)


def _alias_line(name: str, alias: str, target: Alias) -> tuple[str, ...]:
    share = "shadow" if target.shadow else ""
    if target.weight is not None:
        share = f"{target.weight:.2%} of the jobs"
    return f"{name}@{alias}", f"→ {target.version}", share


@click.command()
@click.argument("references", nargs=-1)
@repository_option
@json_option
def verify(*, references: Sequence[str], repository: Path | None, is_json: bool) -> None:
    """Open model versions, score their examples and say what is wrong; all of them by default.

    REFERENCES are name, name@alias or name:version. Each is opened in a process of its own, as
    workers do. Exit code 1 if one of them can't serve.
    """
    from worker.model_loader import ModelLoader

    with one_line_errors(), _modules_of_this_directory():
        settings, found = Settings(), _repository(repository)
        wanted = [_version(found, text) for text in references] or list(_all_versions(found))
        loader = ModelLoader.by(settings, found)
        seconds = settings.chunk_time_limit_seconds
        reports = {pair: _verified(loader, *pair, seconds=seconds) for pair in wanted}
    if not reports:
        click.echo(f"There is no model in {found.root.absolute()}.", err=True)
    documents = [_report_document(*pair, report) for pair, report in reports.items()]
    lines = [_report_line(*pair, report) for pair, report in reports.items()]
    show({"versions": documents}, lines, is_json=is_json)
    if not all(report.is_ready for report in reports.values()):
        raise click.exceptions.Exit(1)


def _verified(loader: "ModelLoader", name: str, version: str, *, seconds: float) -> VersionReport:
    from worker.model_trial import failure, try_apart, try_version

    def attempt(manifest: Manifest) -> VersionReport:
        return try_version(loader, manifest)

    try:
        manifest = loader.repository.manifest(name, version)
    except ManifestError as error:
        return failure(error, "")
    return try_apart(manifest, attempt, seconds=seconds)


def _report_document(name: str, version: str, report: VersionReport) -> Mapping[str, object]:
    error = {"code": report.code, "detail": report.detail} if report.has_failed else None
    return {
        "name": name,
        "version": version,
        "state": "ready" if report.is_ready else "failed",
        "error": error,
        "warnings": [report.warning] if report.warning else [],
    }


def _report_line(name: str, version: str, report: VersionReport) -> tuple[str, ...]:
    said = f"{report.code}: {report.detail}" if report.has_failed else report.warning
    return f"{name}/{version}", "ok" if report.is_ready else "FAILED", " ".join(said.split())


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
    """Delete one version. An alias that points to it must be moved first.

    Jobs that wait for the version fail where it is not loaded.
    """
    with one_line_errors():
        wanted = Reference.parse(reference)
        if wanted.version is None:
            raise click.UsageError("Say which version, as in churn:3.")
        RepositoryEditor(_repository(repository)).remove(wanted.name, wanted.version)
    click.echo(f"removed {wanted.name}/{wanted.version}")


def _repository(path: Path | None) -> ModelRepository:
    return ModelRepository(path or own_repository())
