"""From a body to a job: resolve the version, check the header, save chunk by chunk, announce."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.intake import CsvIntake
from shared.chunks import target_rows
from shared.dispatch import Dispatcher
from shared.errors import (
    EmptyInputError,
    InputError,
    InvalidParameterError,
    JobEndedError,
    ModelNotFoundError,
    RowmillError,
    StoreError,
    UploadIncompleteError,
)
from shared.job_store.store import JobStore
from shared.job_store.workers import WorkerRegistry
from shared.jobs import ANY_NUMBER, Job, JobErrorCode, JobSpec, ResultJoin, new_job_id
from shared.manifest import Manifest
from shared.model_repository import ModelRepository
from shared.settings import Settings
from shared.signature import Dtype, OutputColumn, OutputKind

JOINED_SUFFIX = "_input"
"""Put behind a joined input column whose name a result column has already."""


class SubmitOptions(BaseModel):
    """The query string of `POST /jobs`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = ""
    output: Annotated[OutputKind, Field(description=f"one of {', '.join(OutputKind)}")] = (
        OutputKind.PREDICT
    )
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
    strict: Annotated[bool, Field(description="'true' or 'false'")] = False


@dataclass(frozen=True, kw_only=True)
class Submission:
    """Turns bodies into jobs. Safe to share by threads."""

    settings: Settings
    repository: ModelRepository
    store: JobStore
    workers: WorkerRegistry
    dispatcher: Dispatcher

    def submit(self, options: SubmitOptions, blocks: Iterator[bytes]) -> Job:
        """Take in a whole body and return its job, which may be running or done by then.

        Nothing is created before the header and the first row are known to be good. What goes
        wrong after that ends the job as failed and is raised: InputError in all its kinds,
        StoreError. ModelNotFoundError, ManifestError when there is no such model.
        """
        manifest = self._resolve(options.model)
        intake = CsvIntake(
            blocks,
            delimiter=options.delimiter,
            max_chunk_bytes=self.settings.max_chunk_bytes,
            max_record_bytes=self.settings.max_record_bytes,
            max_rows=self.settings.max_rows,
        )
        header = intake.header(max_columns=self.settings.max_columns)
        spec = make_spec(options, manifest, header, settings=self.settings)
        return self._take_in(spec, intake)

    def _resolve(self, reference: str) -> Manifest:
        reference = reference or self.settings.default_model
        if not reference:
            names = self.repository.names()
            if len(names) != 1:
                raise ModelNotFoundError(
                    f"Say which model with ?model=; there are: {', '.join(names) or 'none yet'}."
                )
            reference = names[0]
        return self.repository.resolve(reference)

    def _take_in(self, spec: JobSpec, intake: CsvIntake) -> Job:
        speed = self.workers.speed(spec.model_version_id)
        chunks = intake.chunks(lambda: target_rows(speed))
        first = next(chunks, None)
        if first is None:
            raise EmptyInputError(has_header=True)
        job_id = new_job_id()
        self.store.create(job_id, spec)
        with self._failing(job_id):
            window = self.workers.window()
            while first is not None:
                plan, data = first
                queued = self.store.append_chunk(job_id, plan, data, window=window)
                self.dispatcher.announce(job_id, queued, model=spec.model_version_id)
                speed = self.workers.speed(spec.model_version_id)
                first = next(chunks, None)
            self.store.close_input(job_id, input_bytes=intake.input_bytes, sha256=intake.sha256)
        return self.store.get(job_id)

    @contextmanager
    def _failing(self, job_id: str) -> Iterator[None]:
        """End the job as failed when its body can't be taken in to its end.

        A job that ended by itself meanwhile (cancelled, model not loadable) is no error here: its
        record says what happened.
        """
        try:
            yield
        except JobEndedError:
            return
        except RowmillError as error:
            is_refused = isinstance(error, InputError) and not isinstance(
                error, UploadIncompleteError
            )
            code = JobErrorCode.INPUT_REFUSED if is_refused else JobErrorCode.UPLOAD_INCOMPLETE
            with suppress(StoreError):  # nothing can be told to a store that is out of reach
                self.store.fail(job_id, code, str(error))
            raise


def make_spec(
    options: SubmitOptions, manifest: Manifest, header: tuple[str, ...], *, settings: Settings
) -> JobSpec:
    """What the job will do. Raises HeaderError, InvalidParameterError."""
    outputs = manifest.signature.outputs.get(options.output)
    if outputs is None:
        offered = ", ".join(manifest.signature.outputs)
        raise InvalidParameterError("output", options.output, f"this model offers {offered}")
    carried = _carried(options, header)
    manifest.signature.check_header(header, carried=carried, is_strict=options.strict)
    retention = options.expires_in or settings.retention_seconds
    return JobSpec(
        model_name=manifest.name,
        model_version=manifest.version,
        model_sha256=manifest.artifact.sha256,
        output=options.output,
        header=header,
        delimiter=options.delimiter,
        carried=carried,
        result_columns=_result_columns(carried, outputs),
        error_threshold=options.error_threshold,
        retention_seconds=min(retention, settings.max_retention_seconds),
    )


def _carried(options: SubmitOptions, header: tuple[str, ...]) -> tuple[str, ...]:
    if options.join is ResultJoin.INPUT:
        return header
    return (options.key,) if options.key is not None else ()


def _result_columns(
    carried: tuple[str, ...], outputs: tuple[OutputColumn, ...]
) -> tuple[OutputColumn, ...]:
    taken = {"row", "error"} | {column.name for column in outputs}
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
