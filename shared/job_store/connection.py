"""A connection to Redis that gives up in bounded time and speaks in Rowmill's errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError, OutOfMemoryError, ResponseError, TimeoutError
from redis.retry import Retry

from shared.errors import StoreFullError, StoreUnavailableError
from shared.job_store import keys

RETRIES = 3
"""With the backoff below about half a second in all: a restart of Redis is noticed by callers, a
dropped connection is not. Every script may therefore run twice and must bear it. A server that is
silent is not asked again."""

TIMEOUT_SECONDS = 5.0
"""A Redis that takes longer is as good as gone; the largest value it moves is a chunk of 4 MiB."""


CANNOT_WRITE = (
    "MISCONF",
    "READONLY",
    "You can't write against a read only replica",
    "NOREPLICAS",
    "MASTERDOWN",
    "BUSY",
)
"""How answers of a server begin that is there but takes no writes for now: its disk is full, it is
a replica or has too few of them, or a script keeps it busy."""


def connect(url: str) -> Redis:
    """A client of the server at `url`, connecting when first used; safe to share by threads."""
    return Redis.from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(
            ExponentialBackoff(cap=0.3, base=0.05), RETRIES, supported_errors=(ConnectionError,)
        ),
    )


def limit_storage(redis: Redis) -> dict[str, Any]:
    """What the library `limits` is to know so that it counts over this client's connections. What
    goes wrong it raises as its own StorageError."""
    return {
        "connection_pool": redis.connection_pool,
        "key_prefix": keys.LIMITS,
        "wrap_exceptions": True,
    }


def text(value: bytes | str) -> str:
    """An answer as text; the client's types leave open which of the two it is."""
    return value.decode() if isinstance(value, bytes) else value


# Any: what the client's types make of it.
def milliseconds(server_time: Any) -> int:
    """Redis' TIME, (seconds, microseconds), as milliseconds."""
    seconds, microseconds = server_time
    return int(seconds) * 1000 + int(microseconds) // 1000


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise StoreUnavailableError and StoreFullError in place of the client's own errors."""
    try:
        yield
    except OutOfMemoryError as error:
        raise StoreFullError from error
    except (ConnectionError, TimeoutError) as error:
        raise StoreUnavailableError from error
    except ResponseError as error:
        if str(error).startswith(CANNOT_WRITE):
            raise StoreUnavailableError from error
        raise
