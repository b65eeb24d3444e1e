"""Where Redis is: a URL taken apart, for redis-py and for Celery, which spell it differently.

`redis://[user:password@]host[:port][/db]`, `rediss://…` with TLS, `unix://…`; and where Sentinel
knows which of several servers is the master

    redis+sentinel://[user:password@]host[:port],host[:port],…/master[/db]

as Flask-Limiter and the package redis-sentinel-url spell it, or `rediss+sentinel://…` with TLS to
servers and sentinels. User and password are those of the servers; sentinels that want some have
theirs behind `?sentinel_username=…&sentinel_password=…`. What else stands there are options as
redis-py takes them, such as `ssl_ca_certs`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from redis import SSLConnection
from redis.connection import parse_url

SENTINEL = "+sentinel"
SENTINEL_PORT = 26379

NOT_A_URL = (
    "write redis://[user:password@]host[:port][/db], rediss://… for TLS, unix:///path or "
    "redis+sentinel://[user:password@]host[:port],…/master[/db]; in user and password, "
    "percent-encode what is no letter or digit"
)


@dataclass(frozen=True, kw_only=True)
class RedisAddress:
    """Parts of a URL. Those that may be secret are not shown."""

    options: Mapping[str, Any] = field(repr=False)
    """What redis-py's connections to a server take, decoded."""
    is_secure: bool = False
    """Whether connections are made with TLS."""
    sentinels: tuple[tuple[str, int], ...] = ()
    """Who is asked for the master; none if `options` say where the server is."""
    master_name: str = ""
    sentinel_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What redis-py's connections to a sentinel take."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises ValueError, whose message holds nothing of the URL: part of it may be secret."""
        try:
            return cls._of_sentinel(url) if _is_of_sentinel(url) else cls._of_server(url)
        except (ValueError, IndexError):
            raise ValueError(NOT_A_URL) from None

    @classmethod
    def _of_server(cls, url: str) -> Self:
        options = dict(parse_url(url))  # type: ignore[no-untyped-call]
        is_secure = options.pop("connection_class", None) is SSLConnection
        if not url.startswith("unix:"):
            options.setdefault("host", "localhost")
        return cls(options=options, is_secure=is_secure)

    @classmethod
    def _of_sentinel(cls, url: str) -> Self:
        parts = urlsplit(url)
        credentials, at, hosts = parts.netloc.rpartition("@")
        master_name, *rest = parts.path.strip("/").split("/")
        db = int(rest[0]) if rest else 0
        # What is left is spelled as for one server.
        scheme = parts.scheme.removesuffix(SENTINEL)
        plain = cls._of_server(f"{scheme}://{credentials}{at}sentinel/{db}?{parts.query}")
        options = {name: value for name, value in plain.options.items() if name != "host"}
        own = {
            name: options.pop(f"sentinel_{name}")
            for name in ("username", "password")
            if f"sentinel_{name}" in options
        }
        tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
        if not master_name:
            raise ValueError
        return cls(
            options=options,
            is_secure=plain.is_secure,
            sentinels=tuple(_host_and_port(host) for host in hosts.split(",")),
            master_name=master_name,
            sentinel_options=own | ({"ssl": True} | tls if plain.is_secure else {}),
        )

    @property
    def tls_options(self) -> Mapping[str, Any]:
        """How redis-py checks the server; Celery would not check it unless told to."""
        checked = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
        own = {name: value for name, value in self.options.items() if name.startswith("ssl_")}
        return checked | own

    @property
    def where(self) -> str:
        """Its hosts or its socket, for messages."""
        if "path" in self.options:
            return str(self.options["path"])
        one = (self.options.get("host"), self.options.get("port", 6379))
        return ", ".join(f"{host}:{port}" for host, port in self.sentinels or (one,))


def _is_of_sentinel(url: str) -> bool:
    return url.startswith((f"redis{SENTINEL}://", f"rediss{SENTINEL}://"))


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError
    return parts.hostname, parts.port or SENTINEL_PORT
