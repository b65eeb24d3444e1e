"""Headers of requests and answers, as the contract describes them."""

from api.contract.schemas import COUNT, Schema

_TEXT: Schema = {"type": "string"}

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
