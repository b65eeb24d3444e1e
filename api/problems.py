"""Problem documents (RFC 9457), or pages: which status answers which error, and the one error
handler."""

import logging
from http import HTTPStatus

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from api import exchange
from api.pages import frame
from api.pages.way_in import to_sign_in
from shared import errors

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

RETRY_SECONDS = 5
"""When to come back after Redis was out of reach: longer than its restart usually takes."""

STATUSES: dict[type[errors.RowmillError], HTTPStatus] = {
    errors.UnsupportedMediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.InvalidParameterError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.InvalidBodyError: HTTPStatus.BAD_REQUEST,
    errors.MultipartError: HTTPStatus.BAD_REQUEST,
    errors.GzipError: HTTPStatus.BAD_REQUEST,
    errors.JsonError: HTTPStatus.BAD_REQUEST,
    errors.DamagedFileError: HTTPStatus.BAD_REQUEST,
    errors.UploadIncompleteError: HTTPStatus.BAD_REQUEST,
    errors.BodyTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.TooManyRowsError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.JobTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.InvalidIdempotencyKeyError: HTTPStatus.BAD_REQUEST,
    errors.CrossSiteError: HTTPStatus.FORBIDDEN,
    errors.UnknownHostError: HTTPStatus.MISDIRECTED_REQUEST,
    errors.UnauthorizedError: HTTPStatus.UNAUTHORIZED,
    errors.InvalidApiKeyError: HTTPStatus.UNAUTHORIZED,
    errors.InsufficientScopeError: HTTPStatus.FORBIDDEN,
    errors.MetricsTokenError: HTTPStatus.UNAUTHORIZED,
    errors.IdempotencyKeyInUseError: HTTPStatus.CONFLICT,
    errors.LimitError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooMuchQueuedError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManyWaitingError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.InputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.JobNotFoundError: HTTPStatus.NOT_FOUND,
    errors.JobGoneError: HTTPStatus.GONE,
    errors.JobNotFinishedError: HTTPStatus.CONFLICT,
    errors.JobUnfinishedError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.JobStoppedError: HTTPStatus.CONFLICT,
    errors.NothingToRetryError: HTTPStatus.CONFLICT,
    errors.ModelNotFoundError: HTTPStatus.NOT_FOUND,
    errors.ManifestError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.AliasError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.NotReadyError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.PayloadLostError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.StoreUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.PayloadStoreUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StoreFullError: HTTPStatus.TOO_MANY_REQUESTS,
}
"""The status of an error is that of its nearest class in this table."""


def install(app: Flask) -> None:
    """Make every error of `app` answer with a problem document or a page."""
    app.register_error_handler(errors.RowmillError, _answer_error)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_unexpected)


def problem(status: HTTPStatus, code: str, detail: str, **members: object) -> Response:
    """A problem document, to which `members` are added as they are; a page where one was wanted.

    What is our fault names the request: whoever asks about it says which lines of the log to read.
    """
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and (served := exchange.current()):
        members["request_id"] = served.id
    if frame.is_page(request.path):
        if status is HTTPStatus.UNAUTHORIZED:
            return to_sign_in(request)
        return frame.problem_page(status, code, detail, **members)
    response = jsonify(problem_document(status, code, detail) | members)
    response.status_code = status.value
    response.mimetype = MEDIA_TYPE
    return response


def problem_document(status: HTTPStatus, code: str, detail: str) -> dict[str, object]:
    return {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "code": code,
        "detail": detail,
    }


def status_of(error: errors.RowmillError) -> HTTPStatus:
    found = (STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)
    return next(found, HTTPStatus.INTERNAL_SERVER_ERROR)


def _answer_error(error: errors.RowmillError) -> Response:
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("request failed", exc_info=error, extra={"path": request.path})
    members = {"errors": _problems(error)} if isinstance(error, errors.HeaderError) else {}
    response = problem(status, error.code, str(error), **members)
    if (seconds := _retry_after_seconds(error)) is not None:
        response.headers["Retry-After"] = str(seconds)
    if isinstance(error, errors.AccessError):
        response.headers["WWW-Authenticate"] = _challenge(error)
    return response


def _challenge(error: errors.AccessError) -> str:
    """How to be let in (RFC 6750 §3)."""
    if isinstance(error, errors.InsufficientScopeError):
        return f'Bearer error="insufficient_scope", scope="{error.missing}"'
    return (
        'Bearer error="invalid_token"' if isinstance(error, errors.InvalidApiKeyError) else "Bearer"
    )


def _retry_after_seconds(error: errors.RowmillError) -> int | None:
    """When to send the request again, if that may help."""
    if isinstance(error, errors.TooMuchQueuedError | errors.LimitError):
        return error.retry_after_seconds
    if isinstance(error, errors.IdempotencyKeyInUseError):
        return 1
    if isinstance(
        error, errors.StoreError | errors.JobNotFinishedError | errors.TooManyWaitingError
    ):
        return RETRY_SECONDS
    return None


def _problems(error: errors.HeaderError) -> list[dict[str, object]]:
    """The header's problems in the form in which rows are reported, too."""
    return [
        {"row": None, "line": 1, "column": column, "code": code, "detail": detail}
        for code, column, detail in error.problems
    ]


def _answer_http(error: HTTPException) -> Response:
    """What Flask itself refuses: unknown routes, wrong methods, unreadable requests."""
    status = HTTPStatus(error.code or 500)
    code = status.phrase.lower().replace(" ", "_").replace("-", "_")
    response = problem(status, code, error.description or status.description)
    response.headers.extend(
        (name, value) for name, value in error.get_headers() if name != "Content-Type"
    )
    return response


def _answer_unexpected(error: Exception) -> Response:
    """A bug: the log tells all, the caller nothing but that it is not their fault."""
    logger.error("request crashed", exc_info=error, extra={"path": request.path})
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal_error",
        "Something broke on our side; try again.",
    )
