"""An HTTP answer → a JSON object, or the error it tells of."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests

from rowmill.errors import InputProblem, ProblemError, UnexpectedAnswerError
from rowmill.json_object import JsonObject, MalformedAnswerError

GRANTED_WAIT = re.compile(r"\bwait\s*=\s*\"?(\d+(?:\.\d+)?)", re.IGNORECASE)


def check(answer: requests.Response) -> None:
    """Nothing for a 2xx. Raises `ProblemError` for a 4xx or 5xx, else `UnexpectedAnswerError`."""
    if answer.status_code >= 400:
        raise problem_in(answer)
    if not 200 <= answer.status_code < 300:
        target = answer.headers.get("Location", "nowhere")
        raise UnexpectedAnswerError(_address(answer), f"it sends us on to {target}")


def read_json(answer: requests.Response) -> JsonObject:
    """The JSON object in an answer. Raises `UnexpectedAnswerError` if there is none."""
    try:
        return JsonObject(answer.json())
    except MalformedAnswerError as error:
        raise UnexpectedAnswerError(_address(answer), str(error)) from error
    except requests.exceptions.JSONDecodeError as error:
        raise UnexpectedAnswerError(_address(answer), "it sent no JSON") from error


def problem_in(answer: requests.Response) -> ProblemError:
    """The problem document in an answer; made from its status line if there is none."""
    body = _problem_body(answer)
    return ProblemError(
        answer.status_code,
        body.text("code") or f"http_{answer.status_code}",
        title=body.text("title"),
        detail=body.text("detail") or f"{_address(answer)} answered {_status_line(answer)}.",
        errors=[_input_problem(item) for item in body.children("errors")],
        retry_after_seconds=retry_after_seconds(answer, now=datetime.now(UTC)),
    )


def retry_after_seconds(answer: requests.Response, *, now: datetime) -> float | None:
    """What `Retry-After` asks for, as seconds or as a date; `None` without (a readable) one."""
    header = answer.headers.get("Retry-After", "").strip()
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        return max((parsedate_to_datetime(header) - now).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


def granted_wait_seconds(answer: requests.Response) -> float:
    """What of `Prefer: wait` the server has applied (RFC 7240); 0 for nothing."""
    match = GRANTED_WAIT.search(answer.headers.get("Preference-Applied", ""))
    return float(match[1]) if match else 0.0


def _problem_body(answer: requests.Response) -> JsonObject:
    """Proxies answer errors in HTML; then there is an empty object."""
    try:
        body = JsonObject(answer.json())
        body.text("code"), body.text("title"), body.text("detail")
        list(body.children("errors"))
    except (MalformedAnswerError, requests.exceptions.JSONDecodeError):
        return JsonObject({})
    return body


def _input_problem(body: JsonObject) -> InputProblem:
    return InputProblem(
        code=body.text("code"),
        detail=body.text("detail"),
        row=body.optional_integer("row"),
        line=body.optional_integer("line"),
        column=body.optional_text("column"),
    )


def _status_line(answer: requests.Response) -> str:
    return f"{answer.status_code} {answer.reason}".strip()


def _address(answer: requests.Response) -> str:
    return answer.url.partition("?")[0]
