"""HTTP to one server: every call gives a good answer or raises one of the client's errors."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests
from requests import exceptions
from urllib3.exceptions import MaxRetryError, ProtocolError, ReadTimeoutError

from rowmill.answers import check
from rowmill.early_answer import UploadAdapter
from rowmill.errors import (
    AnswerTimeoutError,
    ConnectionFailedError,
    ConnectionLostError,
    InvalidUrlError,
    RowmillError,
)
from rowmill.sources import BLOCK_BYTES, Upload

CONNECT_TIMEOUT_SECONDS = 5.0
"""A server that is up accepts in milliseconds; more only hides that it is down."""

Query = Mapping[str, str]
Headers = Mapping[str, str]


class BearerAuth(requests.auth.AuthBase):
    """Sends the API key. As an object, because a header alone yields to a `.netrc` file."""

    def __init__(self, api_key: str) -> None:
        self.api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.api_key}"
        return request


class Transport:
    """One session with one server. Like the session, for one thread at a time."""

    def __init__(self, url: str, *, timeout_seconds: float, api_key: str | None) -> None:
        self.url = _checked_url(url)
        self.timeout_seconds = timeout_seconds
        self._api_key = api_key
        self._session = self._new_session()

    def fetch(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        headers: Headers | None = None,
        hold_seconds: float = 0,
    ) -> requests.Response:
        """The whole answer; `hold_seconds` is how much longer than usual the server may take."""
        timeout = (CONNECT_TIMEOUT_SECONDS, self.timeout_seconds + hold_seconds)
        with self._named_errors():
            answer = self._session.request(
                method,
                self.url + path,
                params=query,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            )
        check(answer)
        return answer

    def stream(
        self, path: str, *, query: Query | None = None, headers: Headers | None = None
    ) -> Iterator[bytes]:
        """The answer's body in blocks, as they arrive; errors of the request raise at once."""
        with self._named_errors():
            answer = self._session.get(
                self.url + path,
                params=query,
                headers=headers,
                timeout=(CONNECT_TIMEOUT_SECONDS, self.timeout_seconds),
                allow_redirects=False,
                stream=True,
            )
            check(answer)
        return self._blocks(answer)

    def upload(
        self, path: str, body: Upload, *, query: Query | None = None, headers: Headers | None = None
    ) -> requests.Response:
        """The answer to a streamed `POST`, also when it comes before the body's end."""
        # A session of its own: an early answer leaves its connection in the middle of a body.
        with self._new_session() as session, self._named_errors():
            for scheme in ("http://", "https://"):
                session.mount(scheme, UploadAdapter(send_timeout_seconds=self.timeout_seconds))
            answer = session.post(
                self.url + path,
                data=body,
                params=query,
                headers={**body.headers, **(headers or {})},
                timeout=(CONNECT_TIMEOUT_SECONDS, self.timeout_seconds),
                allow_redirects=False,
            )
        check(answer)
        return answer

    def close(self) -> None:
        """Closes the connections that are kept open between calls."""
        self._session.close()

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        if self._api_key:
            session.auth = BearerAuth(self._api_key)
        return session

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
        if isinstance(error, exceptions.ReadTimeout) or _is_timeout(cause):
            return AnswerTimeoutError(self.url, self.timeout_seconds)
        if isinstance(error, exceptions.ConnectTimeout):
            return ConnectionFailedError(self.url, f"no sign in {CONNECT_TIMEOUT_SECONDS:g} s")
        if isinstance(cause, MaxRetryError) and not _is_hangup(cause):
            return ConnectionFailedError(self.url, _reason(cause))
        if isinstance(error, (exceptions.InvalidURL, exceptions.InvalidSchema)):
            return InvalidUrlError(self.url)
        return ConnectionLostError(self.url)


def _is_timeout(cause: object) -> bool:
    """Whether the server was silent while it answered, or while it should have read on."""
    if isinstance(cause, ProtocolError):
        return any(isinstance(arg, TimeoutError) for arg in cause.args)
    return isinstance(cause, ReadTimeoutError)


def _is_hangup(error: MaxRetryError) -> bool:
    """Whether a connection over TLS was there and then closed."""
    return any(isinstance(arg, ssl.SSLEOFError) for arg in getattr(error.reason, "args", ()))


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
