"""What parameters and headers mean, in the words of the contract."""

from api.contract.schemas import COUNT, Schema

_TEXT: Schema = {"type": "string"}

QUERY = {
    "model": "Model reference (`name`, `name@alias`, `name:version`); by default the default model",
    "output": "What to ask the model for; by default the first that its signature offers",
    "join": "Whether the results repeat the input columns",
    "key": "An input column that the results repeat",
    "delimiter": "Between the fields of a CSV; a tab is `%09`",
    "error_threshold": "Rows that may fail before the job does; -1 is any number",
    "deadline": "Seconds after its creation by which the job must have ended",
    "expires_in": "Seconds to keep the job after its end",
    "strict": "Whether columns that are no feature are refused",
    "callback_url": "Where to tell of the job's end, as a webhook",
    "validate_only": "Whether rows are checked and not scored",
    "status": "Only jobs of this status",
    "limit": "How many at most",
    "after": "Id of the last job of the page before",
    "format": "Format of the answer, where `Accept` can't be set; it wins over that",
    "offset": "How many rows to leave out at the beginning",
    "guard_formulas": "Whether cells of a CSV that a spreadsheet would run get an apostrophe",
    "follow": "Whether to stream the results of a job that has not ended, as they come",
}
"""By the name of a query parameter."""

QUERY_OF = {
    ("listJobs", "model"): "Only jobs of the model with this name",
}
"""Where a name means something else, by operation and name."""

SENT: dict[str, Schema] = {
    "Idempotency-Key": {
        "description": "A text of 1 to 255 characters, best a random UUID; sending a request "
        "again with the same one makes no second job",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    "Prefer": {
        "description": "`wait=N`: answer when the job has ended, or after N seconds (RFC 7240)",
        "schema": {"type": "string", "example": "wait=10"},
    },
    "Last-Event-ID": {
        "description": "The `id` of the event that was seen last; an event is not sent again",
        "schema": _TEXT,
    },
    "If-None-Match": {
        "description": "The `ETag` of the job as it is known; 304 if that is how it still is",
        "schema": _TEXT,
    },
}
"""By the name of a request header: its description and schema."""

ANSWERED: dict[str, Schema] = {
    "Location": {"description": "The job", "schema": _TEXT},
    "Content-Location": {"description": "The results of the job", "schema": _TEXT},
    "Retry-After": {"description": "Seconds after which to ask again", "schema": COUNT},
    "Preference-Applied": {"description": "The wait that was applied", "schema": _TEXT},
    "Idempotent-Replayed": {
        "description": "Present when an earlier request with the same key made the job",
        "schema": {"const": "true"},
    },
    "ETag": {"description": "Changes with the document", "schema": _TEXT},
}
"""By the name of a header of an answer: its description and schema."""
