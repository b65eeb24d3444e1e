"""A model version opened and asked for its example, in a process that may die of it.

What a file holds and what its libraries make of it can kill a process or keep it for ever; the
worker's main process, from which all others are forked, must not be the one.
"""

import csv
import ctypes
import io
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from pydantic import TypeAdapter, ValidationError

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

GRACE_SECONDS = 5.0
"""A process that tries a version ends itself so long after its time is up: its worker may be gone,
and nobody else would."""

PR_SET_PDEATHSIG = 1

MAX_REPORT_BYTES = 1024**2
READ_BYTES = 65536

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
        self._receiver, sender = os.pipe()
        os.set_blocking(self._receiver, False)
        self._received = bytearray()
        self._is_stopped = False
        self._process = _FORK.Process(
            target=_attempt, args=(attempt, manifest, sender, seconds), name="trial", daemon=True
        )
        self._process.start()
        # Or its end could not be told from its silence.
        os.close(sender)

    def report(self) -> VersionReport | None:
        """What came of it; None as long as that is open. Never waits for the process."""
        # In this order: what a process wrote is there when it has ended.
        has_ended = self._has_ended()
        is_all = self._read()
        report = self._parsed() if is_all or has_ended else None
        if report is None and has_ended:
            exit_code = self.stop()
            report = self._failed(f"died ({_ending(exit_code)})")
        elif report is None and len(self._received) > MAX_REPORT_BYTES:
            report = self._failed(f"wrote more than {MAX_REPORT_BYTES} bytes of report")
        elif report is None and self._clock() >= self._ends_at:
            report = self._failed(f"took longer than {self._seconds:g} s")
        if report is not None:
            self.stop()
        return report

    def stop(self) -> int:
        """End the process, if it has not ended, and those that it began; its exit code."""
        if self._is_stopped:
            return 0
        self._is_stopped = True
        # While it is not waited for its id is no other's.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid or 0, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        exit_code = self._process.exitcode or 0
        self._process.close()
        os.close(self._receiver)
        return exit_code

    def _has_ended(self) -> bool:
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self._process.pid or 0, options) is not None
        except ChildProcessError:
            # `multiprocessing` waits for those that have ended whenever another begins.
            return True

    def _read(self) -> bool:
        """Take what was written so far; whether it is all."""
        while len(self._received) <= MAX_REPORT_BYTES:
            try:
                data = os.read(self._receiver, READ_BYTES)
            except BlockingIOError:
                return False
            if not data:
                return True
            self._received += data
        return False

    def _parsed(self) -> VersionReport | None:
        try:
            return _REPORT.validate_json(bytes(self._received))
        except ValidationError:
            return None

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
    if exit_code >= 0:
        return f"exit code {exit_code}"
    names = {number.value: number.name for number in signal.Signals}
    return names.get(-exit_code, f"signal {-exit_code}")


def _attempt(
    attempt: Callable[[Manifest], VersionReport], manifest: Manifest, sender: int, seconds: float
) -> None:
    # What the libraries of a model begin ends with it.
    os.setpgid(0, 0)
    _end_with_parent()
    # Celery's handlers are about the worker, which this process is not.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_SECONDS)
    with os.fdopen(sender, "wb") as stream:
        stream.write(_REPORT.dump_json(attempt(manifest)))


def _end_with_parent() -> None:
    """Have the system end this process when the one that forked it is gone (prctl(2))."""
    # Only Linux has it; elsewhere the time limit ends it.
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


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
