"""Problem documents for requests that are no HTTP: they never reach the application."""

import json
from http import HTTPStatus

from gunicorn.http import errors

from api.exchange import HEADER
from api.problems import MEDIA_TYPE, problem_document
from api.security_headers import OF_DOCUMENTS

REQUEST_LINE_BYTES = 8190
"""Longest request line: as long as Gunicorn allows. The URL of a callback stands in it."""

_REFUSALS: dict[type[Exception], tuple[HTTPStatus, str, str]] = {
    errors.LimitRequestLine: (
        HTTPStatus.REQUEST_URI_TOO_LONG,
        "uri_too_long",
        f"The request line has more than {REQUEST_LINE_BYTES} bytes; shorten the query.",
    ),
    errors.LimitRequestHeaders: (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_large",
        "The request has too many headers, or too long ones; send fewer.",
    ),
    errors.ExpectationFailed: (
        HTTPStatus.EXPECTATION_FAILED,
        "expectation_failed",
        "The only expectation that can be met is '100-continue'.",
    ),
    errors.UnsupportedTransferCoding: (
        HTTPStatus.NOT_IMPLEMENTED,
        "unsupported_transfer_coding",
        "The only transfer coding there is is 'chunked'.",
    ),
}

_OF_THE_APPLICATION = (
    errors.InvalidResponseHeader,
    errors.InvalidResponseHeaderName,
    errors.ConfigurationProblem,
)
"""Faults on our side that Gunicorn counts among those of a request."""


def refusal(error: Exception, request_id: str) -> bytes | None:
    """A whole answer, with its head, to what Gunicorn could not read; None if that is not why."""
    if not isinstance(error, errors.ParseException) or isinstance(error, _OF_THE_APPLICATION):
        return None
    status, code, detail = _REFUSALS.get(
        type(error), (HTTPStatus.BAD_REQUEST, "bad_request", "The request is not sound HTTP.")
    )
    document = problem_document(status, code, detail)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        document["request_id"] = request_id
    body = json.dumps(document).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        f"{HEADER}: {request_id}",
        "Connection: close",
        "Cache-Control: no-store",
        *(f"{name}: {value}" for name, value in OF_DOCUMENTS.items()),
    )
    return "\r\n".join((*head, "", "")).encode() + body
