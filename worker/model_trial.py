"""A model version opened and asked for its example, in a process that may die of it.

What a file holds and what its libraries make of it can kill a process or keep it for ever; the
worker's main process, from which all others are forked, must not be the one.
"""

import csv
import io
import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from pydantic import TypeAdapter

from shared.chunks import ChunkPlan
from shared.errors import ExampleError, ModelError, ModelLoadError
from shared.job_store.model_reports import VersionReport
from shared.jobs import JobSpec
from shared.manifest import Manifest
from shared.signature import OutputKind, Signature
from worker.model_loader import ModelLoader
from worker.predictor import Predictor
from worker.scoring import Slice

POLL_SECONDS = 0.01

_REPORT = TypeAdapter(VersionReport)
_FORK = multiprocessing.get_context("fork")


class Trial:
    """A version that is being tried in a forked process."""

    def __init__(
        self,
        manifest: Manifest,
        attempt: Callable[[Manifest], VersionReport],
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begins at once; the process is ended if it takes longer than so many seconds."""
        self._manifest = manifest
        self._clock = clock
        self._seconds = seconds
        self._ends_at = clock() + seconds
        self._receiver, sender = _FORK.Pipe(duplex=False)
        self._process = _FORK.Process(
            target=_attempt, args=(attempt, manifest, sender), name="trial", daemon=True
        )
        self._process.start()
        # Or its end could not be told from its silence.
        sender.close()

    def report(self) -> VersionReport | None:
        """What came of it; None as long as that is open."""
        if self._receiver.poll():
            report = self._received()
        elif self._clock() < self._ends_at:
            return None
        else:
            report = self._failed(f"took longer than {self._seconds:g} s")
        self.stop()
        return report

    def stop(self) -> None:
        """End the process, if it has not ended."""
        self._process.kill()
        self._process.join()
        self._receiver.close()

    def _received(self) -> VersionReport:
        try:
            return _REPORT.validate_json(self._receiver.recv_bytes())
        except EOFError:
            self._process.join()
            return self._failed(f"died ({_ending(self._process.exitcode or 0)})")

    def _failed(self, how: str) -> VersionReport:
        error = ModelLoadError(
            f"The process that tried '{self._manifest.version_id}' {how}; look into the worker's "
            "log, then publish a version that can be opened."
        )
        return failure(error, self._manifest.artifact.sha256)


def try_apart(
    manifest: Manifest, attempt: Callable[[Manifest], VersionReport], *, seconds: float
) -> VersionReport:
    """What comes of a trial; waits for it."""
    trial = Trial(manifest, attempt, seconds=seconds)
    while (report := trial.report()) is None:
        time.sleep(POLL_SECONDS)
    return report


def _ending(exit_code: int) -> str:
    return signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"


def _attempt(
    attempt: Callable[[Manifest], VersionReport], manifest: Manifest, sender: Connection
) -> None:
    # Celery's handlers are about the worker, which this process is not.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    sender.send_bytes(_REPORT.dump_json(attempt(manifest)))


def try_version(loader: ModelLoader, manifest: Manifest) -> VersionReport:
    """Open a version and let it score its example; what came of it."""
    sha256 = manifest.artifact.sha256
    try:
        predictor = loader.load(manifest)
        score_example(predictor)
    except ModelError as error:
        return failure(error, sha256)
    return VersionReport(sha256=sha256, is_tried=True, warning=predictor.warning)


def failure(error: ModelError, sha256: str) -> VersionReport:
    """The report on a version that can't serve."""
    return VersionReport(sha256=sha256, is_tried=True, code=error.code, detail=str(error))


def score_example(predictor: Predictor) -> None:
    """Score the row of the signature's examples as a job would, for all that is offered but
    contributions, for which a worker may lack the library. Raises ExampleError."""
    signature = predictor.manifest.signature
    plan = ChunkPlan(number=0, first_row=1, first_line=2, rows=1)
    for output in signature.outputs:
        if output is OutputKind.CONTRIBUTIONS:
            continue
        spec = _spec(predictor.manifest, output)
        result = Slice(_example(signature), plan, spec=spec, predictor=predictor).score()
        if result.failed:
            *_, message = next(csv.reader([result.errors.decode()]))
            raise ExampleError(predictor.manifest.version_id, output, message)


def _example(signature: Signature) -> bytes:
    """The examples of all features as a line of CSV."""
    line = io.StringIO()
    values = ["" if f.example is None else f.example for f in signature.features]
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue().encode()


def _spec(manifest: Manifest, output: OutputKind) -> JobSpec:
    return JobSpec(
        model_name=manifest.name,
        model_version=manifest.version,
        model_sha256=manifest.artifact.sha256,
        output=output,
        header=manifest.signature.feature_names,
        delimiter=",",
        carried=(),
        result_columns=manifest.signature.outputs[output],
        retention_seconds=1,
    )
