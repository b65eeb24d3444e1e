"""The broker by which workers are woken, as Celery takes it: Redis, by default the one that holds
the jobs, or RabbitMQ."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlsplit

from shared.redis_address import RedisAddress

SENTINEL_TIMEOUT_SECONDS = 1.0
"""A sentinel that takes longer is passed over: another one knows the same."""

AMQP_SCHEMES = ("amqp", "amqps")

NOT_A_BROKER = (
    "write amqp://user:password@host[:port]/[vhost], amqps://… for TLS, or a URL as "
    "ROWMILL_REDIS_URL takes it; in user, password and vhost, percent-encode what is no letter or "
    "digit"
)

REDIS_OPTIONS: Mapping[str, Any] = {
    # What a dead worker had received is delivered again, for nothing: let it be soon.
    "visibility_timeout": 60,
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 5,
}

AMQP_OPTIONS: Mapping[str, Any] = {"connect_timeout": 2, "read_timeout": 3, "write_timeout": 3}
"""Whoever wakes tries twice: a broker that is silent must not silence workers for so long that they
count as dead."""

HEARTBEAT_SECONDS = 10
"""Of AMQP: a worker notices within twice that time that its connection is dead. Redis has none; its
`health_check_interval` does the same."""


@dataclass(frozen=True, kw_only=True)
class Broker:
    """What Celery is told of its broker. The URL holds passwords and is not shown."""

    url: str = field(repr=False)
    transport_options: Mapping[str, Any] = field(repr=False)
    tls: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, redis_url: str, broker_url: str = "") -> Self:
        """The broker at `broker_url` or, if that is empty, the Redis server at `redis_url`.

        Raises ValueError, whose message holds nothing of the URL.
        """
        try:
            if broker_url.startswith(tuple(f"{scheme}://" for scheme in AMQP_SCHEMES)):
                return cls._of_amqp(broker_url)
            return cls._of_redis(RedisAddress.parse(broker_url or redis_url))
        except ValueError:
            raise ValueError(NOT_A_BROKER) from None

    @classmethod
    def _of_amqp(cls, url: str) -> Self:
        plain, _, query = url.partition("?")
        parts = urlsplit(plain)
        if not parts.hostname or (parts.port or 1) < 1:
            raise ValueError
        tls = None
        if parts.scheme == "amqps":
            files = {name.removeprefix("ssl_"): value for name, value in parse_qsl(query)}
            # py-amqp checks the name that is asked for, and kombu asks for the host's if for none.
            tls = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None} | files
        return cls(url=plain, transport_options=AMQP_OPTIONS, tls=tls)

    @classmethod
    def _of_redis(cls, address: RedisAddress) -> Self:
        options = address.options
        credentials = _credentials(options)
        tls = address.tls_options if address.is_secure else None
        db = options.get("db", 0)
        if address.sentinels:
            # kombu takes user, password and database from whichever it tries first.
            urls = (
                f"sentinel://{credentials}{_bracketed(host)}:{port}/{db}"
                for host, port in address.sentinels
            )
            own = {
                "master_name": address.master_name,
                "sentinel_kwargs": {
                    "socket_timeout": SENTINEL_TIMEOUT_SECONDS,
                    "socket_connect_timeout": SENTINEL_TIMEOUT_SECONDS,
                    **address.sentinel_options,
                },
            }
            return cls(url=";".join(urls), transport_options={**REDIS_OPTIONS, **own}, tls=tls)
        if "path" in options:
            url = f"redis+socket://{credentials}{quote(options['path'])}?virtual_host={db}"
            return cls(url=url, transport_options=REDIS_OPTIONS)
        scheme = "rediss" if address.is_secure else "redis"
        host, port = _bracketed(options["host"]), options.get("port", 6379)
        url = f"{scheme}://{credentials}{host}:{port}/{db}"
        return cls(url=url, transport_options=REDIS_OPTIONS, tls=tls)

    @property
    def configuration(self) -> dict[str, Any]:
        """What Celery's configuration says of the broker."""
        return {
            "broker_url": self.url,
            "broker_transport_options": dict(self.transport_options),
            # kombu writes into it.
            "broker_use_ssl": dict(self.tls) if self.tls else None,
            "broker_heartbeat": HEARTBEAT_SECONDS,
        }


def _credentials(options: Mapping[str, Any]) -> str:
    user, password = options.get("username", ""), options.get("password", "")
    if not (user or password):
        return ""
    return f"{quote(user, safe='')}:{quote(password, safe='')}@"


def _bracketed(host: str) -> str:
    """A host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
