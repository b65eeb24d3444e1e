"""Where requests are sent, and what must be true of every answer."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlsplit

from tests.fuzz.shot import Shot

PATIENCE_SECONDS = 30.0
"""The service waits for at most two for a byte and for a job, so more is a hang."""

TELLTALES = re.compile(
    rb"Traceback|File \\?\"|site-packages|\.py\b.*line \d|werkzeug|redis\.exceptions|object at 0x"
)
"""What a problem document never says."""

FINE_5XX = frozenset({"not_implemented", "http_version_not_supported"})
"""Codes of problems that are the request's, though their status begins with 5."""

TOO_MUCH = 429
"""Status of a service that has too much to do, and says when to come back. 503 is none of its: all
that it needs is there."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """An answer."""

    status: int
    headers: Message
    body: bytes


class Wrong(Exception):
    """What a request brought about, and must not."""


class Range:
    """A service under fire."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (str(parts.hostname), int(parts.port or 0))

    def fire(self, shot: Shot) -> Hit | None:
        """The answer; None where the service closed the connection on what was no HTTP.

        Raises Wrong.
        """
        began = time.monotonic()
        try:
            hit = self._answer(shot)
        except TimeoutError as error:
            raise Wrong(f"no answer in {time.monotonic() - began:.0f} s") from error
        except (HTTPException, ConnectionError) as error:
            if shot.is_http:
                raise Wrong(f"the connection broke: {error!r}") from error
            return None
        self._check(hit)
        return hit

    def _answer(self, shot: Shot) -> Hit:
        with closing(socket.create_connection(self._address, PATIENCE_SECONDS)) as connection:
            # Refused in the middle of a body, a request is answered all the same.
            with suppress(ConnectionError):
                connection.sendall(shot.head + shot.body)
                connection.shutdown(socket.SHUT_WR)
            method = shot.head.partition(b" ")[0].decode("latin-1")
            answer = HTTPResponse(connection, method=method)
            answer.begin()
            return Hit(status=answer.status, headers=answer.msg, body=answer.read())

    def _check(self, hit: Hit) -> None:
        if hit.status < 400 or not hit.body:
            if hit.status >= 500:
                raise Wrong(f"{hit.status} without a word")
            return
        if TELLTALES.search(hit.body):
            raise Wrong(f"{hit.status} tells too much: {hit.body[:500]!r}")
        code = self._code(hit)
        if hit.status == TOO_MUCH:
            if not hit.headers.get("Retry-After"):
                raise Wrong(f"{hit.status} does not say when to come back: {hit.body[:300]!r}")
        elif hit.status >= 500 and code not in FINE_5XX:
            raise Wrong(f"{hit.status}: {hit.body[:500]!r}")

    @staticmethod
    def _code(hit: Hit) -> str:
        """Of a problem document; pages have none. Raises Wrong for anything else."""
        kind = hit.headers.get_content_type()
        if kind == "text/html":
            return ""
        if kind != "application/problem+json":
            raise Wrong(f"{hit.status} is {kind}: {hit.body[:300]!r}")
        try:
            return str(json.loads(hit.body)["code"])
        except (ValueError, KeyError) as error:
            raise Wrong(f"{hit.status} is no problem document: {hit.body[:300]!r}") from error


def job_ids(hit: Hit) -> Iterator[str]:
    """Of jobs that an answer tells of."""
    if hit.status in {200, 202, 303}:
        told = hit.body[:2000] + hit.headers.get("Location", "").encode("latin-1", "replace")
        for found in re.findall(rb"job_[0-9a-f]{32}", told):
            yield found.decode()
