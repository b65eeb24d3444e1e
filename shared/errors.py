"""Every error Rowmill raises on purpose.

RowmillError
├── InputError                      the request or its body can't be taken
│   ├── UnsupportedMediaTypeError   unsupported_media_type
│   ├── InvalidParameterError       invalid_parameter
│   ├── InvalidBodyError            invalid_body
│   ├── MultipartError              invalid_multipart
│   ├── GzipError                   invalid_gzip
│   ├── JsonError                   invalid_json
│   ├── DamagedFileError            damaged_file
│   ├── BodyTooLargeError           body_too_large
│   ├── EmptyInputError             empty_input
│   ├── EncodingError               invalid_encoding
│   ├── HeaderError                 header_mismatch      (lists every problem)
│   ├── TooManyColumnsError         too_many_columns
│   ├── TooManyRowsError            too_many_rows
│   ├── RecordTooLargeError         record_too_large
│   ├── UnclosedQuoteError          unclosed_quote
│   ├── UploadIncompleteError       upload_incomplete
│   ├── JobTooLargeError            job_too_large
│   ├── WebhooksNotConfiguredError  webhooks_not_configured
│   ├── CallbackRefusedError        callback_refused
│   ├── InvalidIdempotencyKeyError  invalid_idempotency_key
│   └── IdempotencyKeyReusedError   idempotency_key_reused
├── CrossSiteError                  cross_site_request
├── TooMuchQueuedError              too_much_queued
├── TooManyWaitingError             too_many_waiting
├── IdempotencyKeyInUseError        idempotency_key_in_use
├── JobError
│   ├── JobNotFoundError            job_not_found
│   ├── JobGoneError                job_gone
│   ├── JobNotFinishedError         job_not_finished
│   ├── JobUnfinishedError          job_unfinished       (ended without an outcome for all rows)
│   ├── NothingToRetryError         nothing_to_retry
│   └── JobEndedError               job_ended            (cancelled while its body still arrived)
├── ModelError
│   ├── ModelNotFoundError          model_not_found
│   ├── ManifestError               invalid_manifest
│   ├── AliasError                  invalid_alias
│   ├── PublishError                publish_failed
│   ├── ModelLoadError              model_load_failed
│   ├── ExampleError                model_example_failed
│   └── ShadowGivenUpError          shadow_given_up
├── NotReadyError
│   ├── NoLiveWorkerError           no_live_worker
│   └── NoUsableModelError          no_usable_model
└── StoreError
    ├── StoreUnavailableError       store_unavailable
    ├── StoreReadOnlyError          store_read_only
    └── StoreFullError              store_full

An error is built from values, writes its own message and carries a stable `code`. Which HTTP
status answers it is decided in `api/problems.py`, whether a task is tried again in
`worker/tasks.py`.
"""

from collections.abc import Sequence
from typing import ClassVar

MAX_QUOTED_CHARS = 80
"""How much of a caller's text a message repeats: enough to find it, too little to flood a log."""


class RowmillError(Exception):
    """Something went wrong that Rowmill can name; `str()` says what, to what and what to do."""

    code: ClassVar[str] = "internal_error"


def quoted(text: str) -> str:
    """`text` in quotes, shortened, for use in a message."""
    shortened = text if len(text) <= MAX_QUOTED_CHARS else text[:MAX_QUOTED_CHARS] + "…"
    return repr(str(shortened))  # the repr of an enum's member would name its class


# --- the request or its body


class InputError(RowmillError):
    """The request can't be taken as it is; the caller can mend it."""

    code = "invalid_input"


class UnsupportedMediaTypeError(InputError):
    code = "unsupported_media_type"

    def __init__(self, header: str, value: str, supported: Sequence[str]) -> None:
        super().__init__(
            f"{header} {quoted(value)} is not supported; send {' or '.join(supported)}."
        )


class InvalidParameterError(InputError):
    code = "invalid_parameter"

    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(f"Parameter '{name}' can't be {quoted(value)}; {expected}.")


class UnknownParameterError(InvalidParameterError):
    def __init__(self, name: str, known: Sequence[str]) -> None:
        InputError.__init__(
            self, f"There is no parameter {quoted(name)} here; there are {', '.join(known)}."
        )


class InvalidBodyError(InputError):
    code = "invalid_body"

    def __init__(self) -> None:
        super().__init__('The body is no JSON object; send one, such as {"only": "failed"}.')


class MultipartError(InputError):
    code = "invalid_multipart"

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"{problem} Send one form part named 'file', as `curl -F file=@data.csv` does; "
            "options belong into the query string."
        )


class GzipError(InputError):
    code = "invalid_gzip"

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"The body is not sound gzip: {problem}. "
            "Compress the file again, or send it as it is and without Content-Encoding."
        )


class JsonError(InputError):
    """JSON that can't be read, or holds no table; `expected` says what would have been one."""

    code = "invalid_json"

    def __init__(self, problem: str, expected: str) -> None:
        super().__init__(f"{problem} Send {expected}.")


class DamagedFileError(InputError):
    code = "damaged_file"

    def __init__(self, name: str, hint: str = "") -> None:
        super().__init__(
            f"The body can't be read as {name}: it is damaged, cut off, or of another format. "
            f"{hint or 'Write the file again'}."
        )


class BodyTooLargeError(InputError):
    code = "body_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"The body is larger than {limit_bytes} bytes (after decompression); "
            "split it into several jobs."
        )


class JsonTooLargeError(BodyTooLargeError):
    def __init__(self, limit_bytes: int) -> None:
        InputError.__init__(
            self,
            f"The JSON is larger than {limit_bytes} bytes, and it is read as a whole; send one "
            "record a line as application/x-ndjson, which has no such limit.",
        )


class EmptyInputError(InputError):
    code = "empty_input"

    def __init__(self, *, has_header: bool) -> None:
        super().__init__(
            "The body has a header but no data row; there is nothing to score."
            if has_header
            else "The body is empty; send a table with at least one row (CSV: and a header)."
        )


class EncodingError(InputError):
    code = "invalid_encoding"

    def __init__(self, where: str) -> None:
        super().__init__(f"{where} is not UTF-8; save the file as UTF-8 and send it again.")


class HeaderError(InputError):
    """The header doesn't fit; `problems` lists all of them as (code, column, detail)."""

    code = "header_mismatch"

    def __init__(
        self,
        problems: Sequence[tuple[str, str, str]],
        *,
        unmet: str = "the model",
        hint: str = "",
    ) -> None:
        self.problems = tuple(problems)
        details = " ".join(detail for _, _, detail in problems[:10])
        super().__init__(f"The header does not fit {unmet}. {details}{' ' * bool(hint)}{hint}")


class TooManyColumnsError(InputError):
    code = "too_many_columns"

    def __init__(self, columns: int, limit_columns: int) -> None:
        super().__init__(
            f"The header has {columns} columns; the limit is {limit_columns}. "
            "Send only the columns the model needs."
        )


class TooManyRowsError(InputError):
    code = "too_many_rows"

    def __init__(self, limit_rows: int) -> None:
        super().__init__(f"The body has more than {limit_rows} rows; split it into several jobs.")


class RecordTooLargeError(InputError):
    code = "record_too_large"

    def __init__(self, line: int, limit_bytes: int) -> None:
        super().__init__(
            f"The row that begins on line {line} is longer than {limit_bytes} bytes; "
            "look for a quote that is never closed, or shorten its cells."
        )


class UnclosedQuoteError(InputError):
    code = "unclosed_quote"

    def __init__(self, line: int) -> None:
        super().__init__(
            f"A quote that opens in the row beginning on line {line} is never closed, "
            "so the rows after it can't be told apart; close it and send the file again."
        )


class UploadIncompleteError(InputError):
    code = "upload_incomplete"

    def __init__(self) -> None:
        super().__init__("The upload broke off before its end; send the file again.")


class JobTooLargeError(InputError):
    code = "job_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"The body and its results would take more than the {limit_bytes} bytes that the job "
            "store has for jobs; split it into several jobs."
        )


class WebhooksNotConfiguredError(InputError):
    code = "webhooks_not_configured"

    def __init__(self) -> None:
        super().__init__(
            "This service tells no callback of a job's end: it has no secret to sign with. Leave "
            "callback_url out, or have the operator set ROWMILL_WEBHOOK_SECRET."
        )


class CallbackRefusedError(InputError):
    """The URL is sound, but it is not to be called."""

    code = "callback_refused"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The callback URL is not called: {reason}. Give an https URL of a public host; what "
            "else may be called is the operator's choice (ROWMILL_WEBHOOK_ALLOW_PRIVATE)."
        )


class InvalidIdempotencyKeyError(InputError):
    code = "invalid_idempotency_key"

    def __init__(self, limit_chars: int) -> None:
        super().__init__(
            f"Idempotency-Key must have 1 to {limit_chars} characters; send a random UUID."
        )


class IdempotencyKeyReusedError(InputError):
    code = "idempotency_key_reused"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The Idempotency-Key was used for job {quoted(job_id)} with another body or other "
            "options; use a new key for a new request."
        )


class CrossSiteError(RowmillError):
    """Another site made a browser send this."""

    code = "cross_site_request"

    def __init__(self) -> None:
        super().__init__(
            "This was sent from a page of another site; open the page here and send it again."
        )


class IdempotencyKeyInUseError(RowmillError):
    """The first request with the key is still being taken in."""

    code = "idempotency_key_in_use"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The first request with this Idempotency-Key is still being taken in, as job "
            f"{quoted(job_id)}; send this one again in a few seconds."
        )


class TooMuchQueuedError(RowmillError):
    """There is so much work waiting that no more is taken in for now."""

    code = "too_much_queued"

    def __init__(self, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(
            f"Too much work is waiting; send this again in {retry_after_seconds} seconds, or "
            "delete jobs that are no longer needed."
        )


class TooManyWaitingError(RowmillError):
    """So many requests wait for jobs that no further one may."""

    code = "too_many_waiting"

    def __init__(self) -> None:
        super().__init__(
            "Too many requests wait for jobs or follow them; send this again in a few seconds, or "
            "read the results when the job has ended."
        )


# --- jobs


class JobError(RowmillError):
    """A job can't do what was asked of it."""


class JobNotFoundError(JobError):
    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {quoted(job_id)}; GET /jobs lists those there are.")


class JobGoneError(JobError):
    code = "job_gone"

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(f"Job {quoted(job_id)} is {reason}; its data is gone. Submit it again.")


class JobNotFinishedError(JobError):
    code = "job_not_finished"

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(
            f"Job {quoted(job_id)} is {status}; its results can be read when it has ended. "
            "Ask again after the seconds in Retry-After."
        )


class JobUnfinishedError(JobError):
    code = "job_unfinished"

    def __init__(self, job_id: str, status: str, *, reason: str) -> None:
        super().__init__(
            f"Job '{job_id}' is {status} before all its rows had an outcome{reason}; "
            f"see /jobs/{job_id}."
        )


class NothingToRetryError(JobError):
    code = "nothing_to_retry"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"Job {quoted(job_id)} has no failed row. Rows that were never scored are not retried; "
            "submit the table again."
        )


class JobEndedError(JobError):
    """The job ended while its body was still being taken in."""

    code = "job_ended"

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"Job {quoted(job_id)} was {status} while its body was still arriving.")


# --- models


class ModelError(RowmillError):
    """A model can't be found, published or loaded."""


class ModelNotFoundError(ModelError):
    code = "model_not_found"


class ManifestError(ModelError):
    code = "invalid_manifest"


class AliasError(ModelError):
    code = "invalid_alias"


class PublishError(ModelError):
    code = "publish_failed"


class ModelLoadError(ModelError):
    code = "model_load_failed"


class ExampleError(ModelError):
    """A model can't score the example of its own manifest."""

    code = "model_example_failed"

    def __init__(self, version_id: str, output: str, reason: str) -> None:
        super().__init__(
            f"'{version_id}' can't score its own example by {output}: {reason} "
            "Publish it with a sample that it can score."
        )


class ShadowGivenUpError(ModelError):
    """A version costs processes while it is only compared with another."""

    code = "shadow_given_up"

    def __init__(self, version_id: str) -> None:
        super().__init__(
            f"'{version_id}' is not compared any more: processes that scored it as a shadow died, "
            "or passed their time limit. Look into the worker's log, then publish a version that "
            "can score these rows."
        )


# --- the store


class NotReadyError(RowmillError):
    """Jobs are taken in, but nobody would score them now."""


class NoLiveWorkerError(NotReadyError):
    code = "no_live_worker"

    def __init__(self) -> None:
        super().__init__(
            "No worker has been heard of; start one. Jobs are taken and wait until then."
        )


class NoUsableModelError(NotReadyError):
    code = "no_usable_model"

    def __init__(self) -> None:
        super().__init__(
            "Workers live, but none of them can use any model version; GET /models says why. "
            "Mend a version or publish another."
        )


class StoreError(RowmillError):
    """Redis can't do its part."""


class StoreUnavailableError(StoreError):
    code = "store_unavailable"

    def __init__(self) -> None:
        super().__init__("The job store does not answer; try again in a few seconds.")


class StoreReadOnlyError(StoreUnavailableError):
    """It is there, but takes no writes; `reason` is the word by which the server says why."""

    code = "store_read_only"

    def __init__(self, reason: str) -> None:
        StoreError.__init__(
            self, f"The job store takes no writes ({reason}); try again in a few seconds."
        )


class StoreFullError(StoreError):
    code = "store_full"

    def __init__(self) -> None:
        super().__init__(
            "The job store has no memory left for new work; try again when other jobs have "
            "ended, or delete jobs that are no longer needed."
        )
