"""A connection to Redis that gives up in bounded time and speaks in Rowmill's errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import (
    ConnectionError,
    OutOfMemoryError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from shared.broker import SENTINEL_TIMEOUT_SECONDS
from shared.errors import StoreFullError, StoreReadOnlyError, StoreUnavailableError
from shared.master_connection import MasterConnection, SecureMasterConnection, Sentinels
from shared.redis_address import RedisAddress

RETRIES = 3
"""With the backoff below about half a second in all: a restart of Redis is noticed by callers, a
dropped connection is not. Every script may therefore run twice and must bear it. A server that is
silent is not asked again."""

TIMEOUT_SECONDS = 5.0
"""A Redis that takes longer is as good as gone; the largest value it moves is a chunk of 4 MiB."""


CANNOT_WRITE = {"MISCONF", "READONLY", "NOREPLICAS", "MASTERDOWN", "BUSY", "NOPERM", "UNBLOCKED"}
"""Words with which a server answers that is there but takes no writes: its disk is full, it is a
replica or has too few of them, a script keeps it busy, its ACL forbids them, or it became a replica
while a call waited."""


def connect(url: str) -> Redis:
    """A client of the server at `url`, connecting when first used; safe to share by threads.

    With sentinels, whenever a connection is made it is one to the master that they name at that
    moment.
    """
    address = RedisAddress.parse(url)
    if address.sentinels:
        return _connect_by_sentinel(address)
    return Redis.from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=_retry(),
    )


def _connect_by_sentinel(address: RedisAddress) -> Redis:
    sentinels = Sentinels(  # type: ignore[no-untyped-call]
        list(address.sentinels),
        sentinel_kwargs={
            "socket_timeout": SENTINEL_TIMEOUT_SECONDS,
            "socket_connect_timeout": SENTINEL_TIMEOUT_SECONDS,
            # The next one is asked instead.
            "retry": Retry(NoBackoff(), 0),
            **address.sentinel_options,
        },
    )
    defaults = {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
    master: Redis = sentinels.master_for(  # type: ignore[no-untyped-call]
        address.master_name,
        connection_class=SecureMasterConnection if address.is_secure else MasterConnection,
        retry=_retry(),
        **defaults | dict(address.options),
    )
    return master


def _retry() -> Retry:
    return Retry(
        ExponentialBackoff(cap=0.3, base=0.05), RETRIES, supported_errors=(ConnectionError,)
    )


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
    """Raise StoreUnavailableError, StoreReadOnlyError and StoreFullError in place of the client's
    own errors."""
    try:
        yield
    except OutOfMemoryError as error:
        raise StoreFullError from error
    except (ConnectionError, TimeoutError) as error:
        raise StoreUnavailableError from error
    except ResponseError as error:
        if (reason := _reason(error)) in CANNOT_WRITE:
            raise StoreReadOnlyError(reason) from error
        raise


def _reason(error: ResponseError) -> str:
    """The word by which the server says what is wrong. The client takes it off the errors that it
    knows, and in a pipeline puts words of its own before it."""
    answer = str(error).rpartition("of pipeline caused error: ")[2]
    return error.status_code or answer.partition(" ")[0]
