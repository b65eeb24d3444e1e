"""Sessions with a server: they send the API key and notice a peer that is gone."""

import socket
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection

from rowmill.errors import InvalidApiKeyError

KEEP_ALIVE_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
        if hasattr(socket, name)
    ),
)
"""A follower may hear nothing for hours; so the kernel asks after its peer (times in seconds)."""


class Bearer(AuthBase):
    """Sends the API key. Set as `auth`, it also keeps a .netrc of the machine from replacing it."""

    def __init__(self, api_key: str) -> None:
        if not api_key.isascii() or not api_key.isprintable() or {*api_key} & {" "} or not api_key:
            raise InvalidApiKeyError
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


class _KeepAliveAdapter(HTTPAdapter):
    # `Any`: the options of urllib3, passed on.
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        socket_options = [*HTTPConnection.default_socket_options, *KEEP_ALIVE_OPTIONS]
        super().init_poolmanager(*args, socket_options=socket_options, **options)


def new_session(auth: Bearer | None) -> requests.Session:
    """A session for one thread at a time."""
    session = requests.Session()
    session.auth = auth
    for scheme in ("http://", "https://"):
        session.mount(scheme, _KeepAliveAdapter())
    return session
