"""Answers of the server: good ones are parsed, bad ones become the client's errors."""

from collections.abc import Callable
from typing import Any, TypeVar

import requests
from requests import exceptions

from rowmill.addresses import without_credentials
from rowmill.errors import (
    ForbiddenError,
    ProblemError,
    UnauthorizedError,
    UnexpectedAnswerError,
)

Parsed = TypeVar("Parsed")

ERRORS = {401: UnauthorizedError, 403: ForbiddenError}
"""Of a status; any other is a plain `ProblemError`."""

HOW_TO_SEND_A_KEY = "send it as 'Authorization: Bearer rowmill_…'"
"""What the server says in HTTP."""


# `Any`: JSON as it came.
def parsed(answer: requests.Response, parse: Callable[[Any], Parsed]) -> Parsed:
    """What `parse` makes of an answer's JSON. Raises `UnexpectedAnswerError`."""
    try:
        return parse(answer.json())
    except (KeyError, TypeError, ValueError) as error:
        raise UnexpectedAnswerError(_address(answer), f"its body is odd, {error!r}") from error


def retry_after_seconds(answer: requests.Response) -> float | None:
    """What `Retry-After` asks for; `None` without one. Only proxies send it as a date."""
    header = answer.headers.get("Retry-After", "")
    return float(header) if header.isdecimal() else None


def check(answer: requests.Response) -> None:
    """Raises `ProblemError` for a problem, `UnexpectedAnswerError` for a redirect."""
    if answer.status_code >= 400:
        raise _problem_in(answer)
    if answer.status_code >= 300:
        target = answer.headers.get("Location", "nowhere")
        raise UnexpectedAnswerError(_address(answer), f"it sends us on to {target}")


def check_has_an_end(answer: requests.Response) -> None:
    """Raises `UnexpectedAnswerError` for a body that ends where the connection does.

    Nobody could tell that it has broken off.
    """
    if not any(name in answer.headers for name in ("Content-Length", "Transfer-Encoding")):
        answer.close()
        raise UnexpectedAnswerError(_address(answer), "its body may break off without a sign")


def _problem_in(answer: requests.Response) -> ProblemError:
    """The problem document in an answer; made from its status line if a proxy sent none."""
    try:
        document = answer.json()
    except exceptions.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        document = {}
    told = f"{_address(answer)} answered {answer.status_code} {answer.reason}."
    detail = str(document.get("detail", told))
    return ERRORS.get(answer.status_code, ProblemError)(
        answer.status_code,
        str(document.get("code", f"http_{answer.status_code}")),
        detail=detail.replace(HOW_TO_SEND_A_KEY, "set ROWMILL_API_KEY, or give Client an api_key"),
        retry_after_seconds=retry_after_seconds(answer),
        document=document,
    )


def _address(answer: requests.Response) -> str:
    return without_credentials(answer.url.partition("?")[0])
