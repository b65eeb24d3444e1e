"""HTTP to one server: every call gives a good answer or raises one of the client's errors."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import requests
from requests import exceptions
from urllib3.exceptions import LocationValueError, MaxRetryError

from rowmill.addresses import checked_url, without_credentials
from rowmill.answers import check, check_has_an_end
from rowmill.errors import InvalidUrlError, RowmillError, TransportError, UnreachableError
from rowmill.sessions import Bearer, new_session
from rowmill.uploads import BLOCK_BYTES, Body

CONNECT_TIMEOUT_SECONDS = 5.0
"""A server that is up accepts in milliseconds; more only hides that it is down."""

Strings = Mapping[str, str]


class Transport:
    """One session with one server. Like the session, for one thread at a time."""

    def __init__(self, url: str, *, timeout_seconds: float, api_key: str | None = None) -> None:
        self._base_url = checked_url(url)
        self.url = without_credentials(self._base_url)
        """For messages."""
        self.timeout_seconds = timeout_seconds
        self.has_reached_server = False
        """Whether a server was there at least once."""
        self._new_session = partial(new_session, None if api_key is None else Bearer(api_key))
        self._session = self._new_session()

    # `Any`: a JSON body.
    def fetch(
        self,
        method: str,
        path: str,
        *,
        query: Strings | None = None,
        headers: Strings | None = None,
        json: Any = None,
    ) -> requests.Response:
        """The whole answer."""
        return self._request(self._session, method, path, params=query, headers=headers, json=json)

    def stream(
        self,
        path: str,
        *,
        headers: Strings,
        query: Strings | None = None,
        may_be_silent: bool = False,
    ) -> Iterator[bytes]:
        """The answer's body in blocks, as they arrive; errors of the request raise at once.

        A body that breaks off raises `TransportError` after the blocks that came; one that
        doesn't say where it ends, so nobody could tell, raises `UnexpectedAnswerError`.
        `may_be_silent`: whether the server may say nothing for as long as it likes.
        """
        read_timeout = None if may_be_silent else self.timeout_seconds
        answer = self._request(
            self._session,
            "GET",
            path,
            params=query,
            headers=headers,
            stream=True,
            timeout=(self._connect_seconds, read_timeout),
        )
        check_has_an_end(answer)
        return self._blocks(answer)

    def upload(
        self, path: str, body: Body, *, query: Strings, headers: Strings
    ) -> requests.Response:
        """The answer to a streamed `POST`, also when it comes before the body's end.

        A server that refuses a body at its header answers and closes; urllib3 then stops sending
        and reads the answer.
        """
        # A session of its own: an early answer leaves its connection in the middle of a body.
        with self._new_session() as session:
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
        options.setdefault("timeout", (self._connect_seconds, self.timeout_seconds))
        with self._named_errors():
            url = self._base_url + path
            answer = session.request(method, url, allow_redirects=False, **options)
            self.has_reached_server = True
            check(answer)
        return answer

    @property
    def _connect_seconds(self) -> float:
        return min(CONNECT_TIMEOUT_SECONDS, self.timeout_seconds)

    def _blocks(self, answer: requests.Response) -> Iterator[bytes]:
        with answer, self._named_errors():
            yield from answer.iter_content(BLOCK_BYTES)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except exceptions.RequestException as error:
            raise self._named(error) from error
        except LocationValueError as error:
            raise InvalidUrlError(self.url) from error

    def _named(self, error: exceptions.RequestException) -> RowmillError:
        cause = error.args[0] if error.args else None
        if isinstance(error, (exceptions.InvalidURL, exceptions.InvalidSchema)):
            return InvalidUrlError(self.url)
        if isinstance(cause, MaxRetryError) and not isinstance(error, exceptions.ReadTimeout):
            return UnreachableError(
                f"Can't reach a server at {self.url}: {_reason(cause)}. Start one with 'make up',"
                " or name another with ROWMILL_URL or 'rowmill --url'."
            )
        self.has_reached_server = True
        return TransportError(
            f"The connection to {self.url} broke off or was silent for"
            f" {self.timeout_seconds:g} s. Try again."
        )


def _reason(error: MaxRetryError) -> str:
    """What the system said: 'Connection refused', 'Name or service not known', …"""
    cause = error.reason.__cause__ if error.reason is not None else None
    return getattr(cause, "strerror", None) or str(error.reason)
