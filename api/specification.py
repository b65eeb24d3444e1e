"""From the options of a request and a model version to what a job will do."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Literal, TypedDict

from pydantic import BaseModel, ConfigDict, Field

from api.query import FormatOption
from api.serving import Served
from shared.callbacks import EXPECTED, MAX_URL_CHARS
from shared.errors import HeaderError, InvalidParameterError
from shared.jobs import ANY_NUMBER, InputFormat, Job, JobSpec, ResultJoin
from shared.manifest import Manifest
from shared.settings import Settings
from shared.signature import Dtype, OutputColumn, OutputKind

JOINED_SUFFIX = "_input"
"""Put behind a joined input column whose name a result column has already, or that has none, as the
index of a pandas table in CSV."""

KEPT_HEADER_CHARS = 4096
KEPT_COLUMNS = 200
"""Specs of larger headers are not kept: a header may have megabytes, and a spec has an object for
each column that is carried."""


@dataclass(frozen=True, kw_only=True)
class InputColumns:
    """The columns of a body, in its order."""

    names: tuple[str, ...]
    format: InputFormat = InputFormat.CSV

    def delimiter(self, wanted: str) -> str:
        """What stands between the cells of the body's chunks."""
        if self.format.is_json:
            return ""
        return wanted if self.format is InputFormat.CSV else ","

    def kept(self, features: tuple[str, ...], carried: tuple[str, ...]) -> tuple[str, ...]:
        """The columns that chunks have: in CSV, whose chunks are what was sent, all of them."""
        if self.format is InputFormat.CSV:
            return self.names
        wanted = {*features, *carried}
        return tuple(name for name in self.names if name in wanted)


class SubmitOptions(BaseModel):
    """The query string of `POST /jobs`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = ""
    output: Annotated[OutputKind | None, Field(description=f"one of {', '.join(OutputKind)}")] = (
        None
    )
    """By default the first that the model offers, as a rule `predict`."""
    join: Annotated[ResultJoin, Field(description="'input' or 'none'")] = ResultJoin.NONE
    key: Annotated[str | None, Field(description="the name of an input column")] = None
    delimiter: Annotated[
        Literal[",", ";", "\t", "|"], Field(description="one of , ; | or a tab (%09)")
    ] = ","
    error_threshold: Annotated[
        int, Field(ge=ANY_NUMBER, description="a whole number of rows, or -1 for any number")
    ] = ANY_NUMBER
    expires_in: Annotated[
        int | None, Field(ge=1, description="a whole number of seconds above 0")
    ] = None
    deadline: Annotated[
        int | None, Field(ge=1, description="a whole number of seconds above 0")
    ] = None
    strict: Annotated[bool, Field(description="'true' or 'false'")] = False
    validate_only: Annotated[bool, Field(description="'true' or 'false'")] = False
    callback_url: Annotated[
        str | None, Field(min_length=1, max_length=MAX_URL_CHARS, description=EXPECTED)
    ] = None


class PredictOptions(SubmitOptions):
    """The query string of `POST /predict`."""

    # Left out of what tells two requests apart: their jobs are the same.
    format: Annotated[FormatOption, Field(exclude=True)] = None


def make_spec(
    options: SubmitOptions, served: Served, columns: InputColumns, *, settings: Settings
) -> JobSpec:
    """What the job will do. Raises HeaderError, InvalidParameterError.

    Most small jobs want the same as the ones before, so the last specs are kept.
    """
    header = columns.names
    is_kept = len(header) <= KEPT_COLUMNS and sum(map(len, header)) <= KEPT_HEADER_CHARS
    make = _kept_spec if is_kept else _new_spec
    retention = options.expires_in or settings.retention_seconds
    if options.callback_url:
        # No part of what the job does: jobs that differ in nothing else have the same.
        options = options.model_copy(update={"callback_url": None})
    return make(options, served, columns, min(retention, settings.max_retention_seconds))


def _new_spec(
    options: SubmitOptions, served: Served, columns: InputColumns, retention_seconds: int
) -> JobSpec:
    manifest = served.manifest
    output = options.output or manifest.signature.default_output
    outputs = _outputs(manifest, output)
    carried = _carried(options, columns.names)
    manifest.signature.check_header(columns.names, carried=carried, is_strict=options.strict)
    header = columns.kept(manifest.signature.feature_names, carried)
    return JobSpec(
        **_pinned(served, output, header, validate_only=options.validate_only),
        output=output,
        header=header,
        delimiter=columns.delimiter(options.delimiter),
        input_format=columns.format,
        carried=carried,
        result_columns=_result_columns(carried, () if options.validate_only else outputs),
        validate_only=options.validate_only,
        error_threshold=options.error_threshold,
        retention_seconds=retention_seconds,
        deadline_seconds=options.deadline,
    )


_kept_spec = lru_cache(maxsize=256)(_new_spec)


def retry_spec(parent: Job, served: Served) -> JobSpec:
    """What a job of the failed rows of `parent` will do, by this model version.

    Raises HeaderError, InvalidParameterError where it doesn't take the parent's rows.
    """
    spec, manifest = parent.spec, served.manifest
    outputs = _outputs(manifest, spec.output)
    manifest.signature.check_header(spec.header, carried=spec.carried, is_strict=False)
    return replace(
        spec,
        **_pinned(served, spec.output, spec.header, validate_only=spec.validate_only),
        result_columns=_result_columns(spec.carried, () if spec.validate_only else outputs),
        retry_of=parent.id,
    )


class _Pinned(TypedDict):
    """What a job never changes of the model it was made for."""

    model_name: str
    model_version: str
    model_sha256: str
    model_warnings: tuple[str, ...]
    shadow_version: str | None
    shadow_sha256: str | None


def _pinned(
    served: Served, output: OutputKind, header: tuple[str, ...], *, validate_only: bool
) -> _Pinned:
    manifest = served.manifest
    shadow = None if validate_only else served.shadow
    if shadow is not None and not _is_comparable(manifest, shadow, output, header):
        shadow = None
    return {
        "model_name": manifest.name,
        "model_version": manifest.version,
        "model_sha256": manifest.artifact.sha256,
        "model_warnings": served.warnings,
        "shadow_version": shadow.version if shadow else None,
        "shadow_sha256": shadow.artifact.sha256 if shadow else None,
    }


def _is_comparable(
    manifest: Manifest, shadow: Manifest, output: OutputKind, header: tuple[str, ...]
) -> bool:
    """Whether another version can score the same rows and gives the same columns."""
    outputs = shadow.signature.outputs.get(output)
    if outputs != manifest.signature.outputs[output]:
        return False
    try:
        shadow.signature.check_header(header, carried=(), is_strict=False)
    except HeaderError:
        return False
    return True


def _outputs(manifest: Manifest, output: OutputKind) -> tuple[OutputColumn, ...]:
    outputs = manifest.signature.outputs.get(output)
    if outputs is None:
        offered = ", ".join(manifest.signature.outputs)
        raise InvalidParameterError("output", output, f"this model offers {offered}")
    return outputs


def _carried(options: SubmitOptions, header: tuple[str, ...]) -> tuple[str, ...]:
    if options.join is ResultJoin.INPUT:
        return header
    return (options.key,) if options.key is not None else ()


def _result_columns(
    carried: tuple[str, ...], outputs: tuple[OutputColumn, ...]
) -> tuple[OutputColumn, ...]:
    taken = {"", "row", "error"} | {column.name for column in outputs}
    joined = []
    for carried_name in carried:
        name = carried_name
        while name in taken:
            name += JOINED_SUFFIX
        taken.add(name)
        joined.append(OutputColumn(name=name, dtype=Dtype.STRING))
    return (
        OutputColumn(name="row", dtype=Dtype.INT),
        *joined,
        *outputs,
        OutputColumn(name="error", dtype=Dtype.STRING),
    )
