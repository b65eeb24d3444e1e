"""Every error the client raises on purpose.

RowmillError
├── ProblemError               the server answered with a problem document (status, code, …)
├── UnexpectedAnswerError      what answered doesn't speak Rowmill's contract
├── TransportError             there is no (whole) answer
│   ├── ConnectionFailedError  no server was reached
│   ├── ConnectionLostError    the connection broke off in the middle
│   └── AnswerTimeoutError     the server was silent for too long
├── JobError
│   ├── JobFailedError         the job ended as `failed`
│   ├── JobCancelledError      the job ended as `cancelled`
│   └── WaitTimeoutError       the job didn't end in the time given; also a `TimeoutError`
├── SourceError                the input can't be read
├── OutputError                the results can't be written
└── InvalidUrlError            the server's URL can't be one

Each writes its own message: what happened, to what, and what to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

MAX_SHOWN_PROBLEMS = 5
"""Problems of rows and columns that a message names; all of them are in `ProblemError.errors`."""


class RowmillError(Exception):
    """Something went wrong that the client can name; `str()` is one line for a person."""

    code: str = "client_error"


@dataclass(frozen=True, kw_only=True)
class InputProblem:
    """One entry of a problem document's `errors`: what is wrong with which row or column."""

    code: str
    detail: str
    row: int | None = None
    line: int | None = None
    column: str | None = None


class ProblemError(RowmillError):
    """The server's problem document (RFC 9457), or what an HTTP error without one tells."""

    def __init__(
        self,
        status: int,
        code: str,
        *,
        title: str,
        detail: str,
        errors: Sequence[InputProblem] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self._message())

    def _message(self) -> str:
        parts = [self.detail or self.title or f"The server answered {self.status}.", *self._shown()]
        if self.retry_after_seconds is not None:
            parts.append(f"Try again in {self.retry_after_seconds:.0f} s.")
        return " ".join(" ".join(parts).split())

    def _shown(self) -> list[str]:
        fresh = [problem.detail for problem in self.errors if problem.detail not in self.detail]
        hidden = len(fresh) - MAX_SHOWN_PROBLEMS
        shown = [detail.rstrip(".;") + ";" for detail in fresh[:MAX_SHOWN_PROBLEMS]]
        if hidden > 0:
            return [*shown, f"and {hidden} more."]
        return [*shown[:-1], *(last.rstrip(";") + "." for last in shown[-1:])]


class UnexpectedAnswerError(RowmillError):
    """Something answered, but not as Rowmill's contract says."""

    code = "unexpected_answer"

    def __init__(self, url: str, finding: str) -> None:
        super().__init__(f"{url} doesn't answer like Rowmill: {finding}. Is the URL right?")


class TransportError(RowmillError):
    """There is no whole answer; whether the request was acted on is not known."""

    code = "transport_error"


class ConnectionFailedError(TransportError):
    """No server was reached, so nothing was sent."""

    code = "connection_failed"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"Can't reach a server at {url}: {reason}. Start one with 'make up', or name another"
            " with --url or ROWMILL_URL."
        )


class ConnectionLostError(TransportError):
    """The connection broke off before the whole answer had arrived."""

    code = "connection_lost"

    def __init__(self, url: str) -> None:
        super().__init__(f"The connection to {url} broke off in the middle. Try again.")


class AnswerTimeoutError(TransportError):
    """The server took the request and then was silent."""

    code = "answer_timeout"

    def __init__(self, url: str, timeout_seconds: float) -> None:
        super().__init__(
            f"{url} has been silent for {timeout_seconds:g} s. Is it overloaded? Try again later."
        )


class JobError(RowmillError):
    """The job can't give what was asked of it."""

    default_code: ClassVar[str] = "job_error"

    def __init__(self, job_id: str, message: str, *, code: str | None = None) -> None:
        self.job_id = job_id
        self.code = code or self.default_code
        super().__init__(message)


class JobFailedError(JobError):
    """The job ended as `failed`; `code` is the job's own `error.code`."""

    default_code = "job_failed"

    def __init__(self, job_id: str, message: str, *, code: str | None = None) -> None:
        reason = message or code or "no reason given"
        text = f"Job {job_id} failed: {reason} See 'rowmill errors {job_id}'."
        super().__init__(job_id, text, code=code)


class JobCancelledError(JobError):
    """The job was cancelled, here or elsewhere; finished rows stay readable."""

    default_code = "job_cancelled"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            job_id, f"Job {job_id} was cancelled; 'rowmill results {job_id}' has its finished rows."
        )


class WaitTimeoutError(JobError, TimeoutError):
    """The job hasn't ended in the time given; it goes on."""

    default_code = "wait_timeout"

    def __init__(self, job_id: str, timeout_seconds: float) -> None:
        super().__init__(
            job_id,
            f"Job {job_id} hasn't ended in {timeout_seconds:g} s and goes on;"
            f" see 'rowmill status {job_id}'.",
        )


class SourceError(RowmillError):
    """The input can't be read; the server has not got a whole body and takes no job from it."""

    code = "source_unreadable"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"Can't read {name}: {reason}.")


class OutputError(RowmillError):
    """The results can't be written; they stay on the server."""

    code = "output_unwritable"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"Can't write {name}: {reason}. The results stay on the server.")


class InvalidUrlError(RowmillError):
    """The URL given can't be the address of a server."""

    code = "invalid_url"

    def __init__(self, url: str) -> None:
        super().__init__(f"{url!r} is no URL of a server; write it like http://127.0.0.1:8000.")
