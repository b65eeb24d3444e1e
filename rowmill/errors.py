"""Every error the client raises on purpose.

RowmillError
├── ProblemError           the server refuses: status, code, detail
│   ├── UnauthorizedError  it takes an API key, and got none or one that is good no more
│   └── ForbiddenError     the API key is not good for this
├── UnexpectedAnswerError  what answered doesn't speak Rowmill's contract
├── TransportError         there is no (whole) answer
│   └── UnreachableError   no server was reached at all
├── JobFailedError         the job ended as `failed` or `cancelled`
├── WaitTimeoutError       the job didn't end in the time given; also a `TimeoutError`
├── VersionFailedError     the workers can't use a model version
├── VersionWaitError       a model version isn't served in the time given; also a `TimeoutError`
├── SourceError            the input can't be read
├── OutputError            the results can't be written
├── MissingPackageError    data frames need pandas and pyarrow; also an `ImportError`
├── InvalidApiKeyError     the API key can't be one
└── InvalidUrlError        the server's URL can't be one

UserWarning
└── IncompleteWarning      predictions of a job that ended early

Each writes its own message: what happened, to what, and what to do.
"""

from collections.abc import Iterator, Mapping

from rowmill.jobs import Job, JobStatus
from rowmill.row_errors import RowError

PASSING_STATUSES = frozenset({429, 502, 503, 504})
"""The server is overloaded or restarting; the request may be made again."""

PASSING_CODES = frozenset({"idempotency_key_in_use", "upload_incomplete"})
"""A first try is still being taken in, or was broken off by a server that stops."""


class RowmillError(Exception):
    """Something went wrong that the client can name; `str()` is one line for a person."""

    may_pass = False
    """Whether the same request may go well a little later."""

    retry_after_seconds: float | None = None
    """How long the server asks to be left alone, if it does."""


class ProblemError(RowmillError):
    """The server's problem document (RFC 9457), or what an HTTP error without one tells."""

    def __init__(
        self,
        status: int,
        code: str,
        *,
        detail: str,
        retry_after_seconds: float | None = None,
        document: Mapping[str, object] | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.may_pass = status in PASSING_STATUSES or code in PASSING_CODES
        self.retry_after_seconds = retry_after_seconds
        self.document = document or {}
        """The whole answer; its `errors` list what is wrong with which column."""
        hint = "" if retry_after_seconds is None else f" Try again in {retry_after_seconds:.0f} s."
        super().__init__(" ".join(detail.split()) + hint)


class UnauthorizedError(ProblemError):
    """The server takes an API key, and got none or one that is good no more (401)."""


class ForbiddenError(ProblemError):
    """The API key is not good for this (403)."""


class UnexpectedAnswerError(RowmillError):
    """Something answered, but not as Rowmill's contract says."""

    def __init__(self, url: str, finding: str) -> None:
        super().__init__(f"{url} doesn't answer like Rowmill: {finding}. Is the URL right?")


class TransportError(RowmillError):
    """No server was reached, or the connection broke off; then the request may have been heard."""

    may_pass = True


class UnreachableError(TransportError):
    """No server was reached; the request was not heard."""


class JobFailedError(RowmillError):
    """The job ended without all it was asked for; rows that were finished stay readable.

    `first` is a row error to show for the others.
    """

    def __init__(self, job: Job, first: RowError | None = None) -> None:
        self.job = job
        told = (
            f"Job {job.id} was cancelled."
            if job.status is JobStatus.CANCELLED
            else f"Job {job.id} failed: {job.error_detail}"
        )
        example = [f"Row {first.row}: {first.message}"] if first else []
        super().__init__(" ".join([told, *example, *_remains(job)]))


def _remains(job: Job) -> Iterator[str]:
    """What there is to see of a job that did not go through."""
    if job.failed:
        yield f"See 'rowmill errors {job.id}'."
    if job.succeeded:
        yield f"'rowmill results {job.id}' has its finished rows."


class WaitTimeoutError(RowmillError, TimeoutError):
    """The job hasn't ended in the time given; it goes on."""

    def __init__(self, job_id: str, timeout_seconds: float) -> None:
        super().__init__(
            f"Job {job_id} hasn't ended in {timeout_seconds:g} s and goes on;"
            f" see 'rowmill status {job_id}'."
        )


class VersionFailedError(RowmillError):
    """The workers can't use a model version; what served before goes on serving."""

    def __init__(self, name: str, version: str, reason: str) -> None:
        super().__init__(f"Version '{version}' of '{name}' can't serve: {reason}")


class VersionWaitError(RowmillError, TimeoutError):
    """A model version isn't served in the time given; it may be later."""

    def __init__(self, reference: str, state: str, timeout_seconds: float) -> None:
        hint = "point an alias at it" if state == "untried" else "look again"
        super().__init__(
            f"'{reference}' isn't served after {timeout_seconds:g} s: its version is {state};"
            f" {hint}, or see the workers' logs."
        )


class SourceError(RowmillError):
    """The input can't be read; the server has not got a whole body and takes no job from it."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"Can't read {name}: {reason}.")


class OutputError(RowmillError):
    """The results can't be written; they stay on the server."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"Can't write {name}: {reason}. The results stay on the server.")


class MissingPackageError(RowmillError, ImportError):
    """Data frames were asked for where what they need is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(f"Data frames need {package}; run: pip install 'rowmill[pandas]'.")


class InvalidApiKeyError(RowmillError):
    """The API key can't be sent as a header; it isn't shown."""

    def __init__(self) -> None:
        super().__init__(
            "The API key is empty or holds blanks, line ends or letters beyond ASCII;"
            " look where it comes from, such as ROWMILL_API_KEY."
        )


class InvalidUrlError(RowmillError):
    """The URL given can't be the address of a server."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url!r} is no URL of a server; write it like http://127.0.0.1:8000.")


class IncompleteWarning(UserWarning):
    """A data frame has only the rows that were done when the job failed or was cancelled."""
