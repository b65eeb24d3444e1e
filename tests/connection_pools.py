"""The two pools of connections to a master that sentinels name."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager

from redis.sentinel import SentinelConnectionPool

from shared.dispatch import make_celery
from shared.job_store.connection import connect
from shared.settings import Settings

PoolAt = Callable[[str], AbstractContextManager[SentinelConnectionPool]]


@contextmanager
def pool_of_jobs(url: str) -> Iterator[SentinelConnectionPool]:
    """The one by which the job store is read and written."""
    with closing(connect(url)) as redis:
        yield redis.connection_pool


@contextmanager
def pool_of_messages(url: str) -> Iterator[SentinelConnectionPool]:
    """The one by which Celery sends and receives."""
    with make_celery(Settings(redis_url=url)).connection_for_read() as connection:
        yield connection.default_channel.pool
