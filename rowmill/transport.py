"""HTTP to one server: every call gives a good answer or raises one of the client's errors."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests import exceptions
from urllib3.exceptions import MaxRetryError

from rowmill.errors import (
    InvalidUrlError,
    ProblemError,
    RowmillError,
    TransportError,
    UnexpectedAnswerError,
)
from rowmill.uploads import BLOCK_BYTES, Upload

CONNECT_TIMEOUT_SECONDS = 5.0
"""A server that is up accepts in milliseconds; more only hides that it is down."""

Strings = Mapping[str, str]
Parsed = TypeVar("Parsed")


class Transport:
    """One session with one server. Like the session, for one thread at a time."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self.url = _checked_url(url)
        self.timeout_seconds = timeout_seconds
        self._session = requests.Session()

    def fetch(
        self,
        method: str,
        path: str,
        *,
        query: Strings | None = None,
        headers: Strings | None = None,
    ) -> requests.Response:
        """The whole answer."""
        return self._request(self._session, method, path, params=query, headers=headers)

    def stream(self, path: str, *, headers: Strings) -> Iterator[bytes]:
        """The answer's body in blocks, as they arrive; errors of the request raise at once."""
        answer = self._request(self._session, "GET", path, headers=headers, stream=True)
        return self._blocks(answer)

    def upload(
        self, path: str, body: Upload, *, query: Strings, headers: Strings
    ) -> requests.Response:
        """The answer to a streamed `POST`, also when it comes before the body's end.

        A server that refuses a body at its header answers and closes; urllib3 then stops sending
        and reads the answer.
        """
        # A session of its own: an early answer leaves its connection in the middle of a body.
        with requests.Session() as session:
            return self._request(
                session,
                "POST",
                path,
                data=body,
                params=query,
                headers=headers,
                # urllib3 sends under the connect timeout; intake pauses uploads for longer.
                timeout=self.timeout_seconds,
            )

    def close(self) -> None:
        """Closes the connections that are kept open between calls."""
        self._session.close()

    # `Any`: the options of requests, passed on.
    def _request(
        self, session: requests.Session, method: str, path: str, **options: Any
    ) -> requests.Response:
        options.setdefault("timeout", (CONNECT_TIMEOUT_SECONDS, self.timeout_seconds))
        with self._named_errors():
            answer = session.request(method, self.url + path, allow_redirects=False, **options)
            _check(answer)
        return answer

    def _blocks(self, answer: requests.Response) -> Iterator[bytes]:
        with answer, self._named_errors():
            yield from answer.iter_content(BLOCK_BYTES)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except exceptions.RequestException as error:
            raise self._named(error) from error

    def _named(self, error: exceptions.RequestException) -> RowmillError:
        cause = error.args[0] if error.args else None
        if isinstance(error, (exceptions.InvalidURL, exceptions.InvalidSchema)):
            return InvalidUrlError(self.url)
        if isinstance(cause, MaxRetryError) and not isinstance(error, exceptions.ReadTimeout):
            return TransportError(
                f"Can't reach a server at {self.url}: {_reason(cause)}. Start one with 'make up',"
                " or name another with ROWMILL_URL or 'rowmill --url'."
            )
        return TransportError(
            f"The connection to {self.url} broke off or was silent for"
            f" {self.timeout_seconds:g} s. Try again."
        )


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


def _check(answer: requests.Response) -> None:
    if answer.status_code >= 400:
        raise _problem_in(answer)
    if answer.status_code >= 300:
        target = answer.headers.get("Location", "nowhere")
        raise UnexpectedAnswerError(_address(answer), f"it sends us on to {target}")


def _problem_in(answer: requests.Response) -> ProblemError:
    """The problem document in an answer; made from its status line if a proxy sent none."""
    try:
        document = answer.json()
    except exceptions.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        document = {}
    told = f"{_address(answer)} answered {answer.status_code} {answer.reason}."
    return ProblemError(
        answer.status_code,
        str(document.get("code", f"http_{answer.status_code}")),
        detail=str(document.get("detail", told)),
        retry_after_seconds=retry_after_seconds(answer),
        document=document,
    )


def _address(answer: requests.Response) -> str:
    return answer.url.partition("?")[0]


def _reason(error: MaxRetryError) -> str:
    """What the system said: 'Connection refused', 'Name or service not known', …"""
    cause = error.reason.__cause__ if error.reason is not None else None
    return getattr(cause, "strerror", None) or str(error.reason)


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or parts.query or parts.fragment:
        raise InvalidUrlError(url)
    return url.rstrip("/")
