"""HTTP byte by byte, for callers who break off."""

import json
import socket
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from tests.live_stack import Api


def connected(api: Api) -> socket.socket:
    """A connection of one's own."""
    url = urlsplit(api.url)
    return socket.create_connection((str(url.hostname), int(url.port or 0)), timeout=20)


def head(*headers: str, query: str = "model=line") -> bytes:
    """What stands before the body of a submission."""
    lines = [f"POST /jobs?{query} HTTP/1.1", "Host: test", "Content-Type: text/csv", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def answer_on(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the answer that comes."""
    answer = HTTPResponse(connection)
    answer.begin()
    return answer.status, json.loads(answer.read())
