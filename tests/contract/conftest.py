"""Jobs that take their time."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from shared.job_store import keys
from shared.job_store.connection import connect
from tests.contract.answers import Document, accepted, shown
from tests.live_stack import Api
from tests.waiting import wait_until


@pytest.fixture(scope="session")
def slow(api: Api) -> str:
    """A model of 2 ms a row whose speed is known, so that its chunks take 0.7 s."""
    # A job that is small enough to end soon is no measure of it.
    with closing(connect(api.redis_url)) as redis:
        redis.hset(keys.SPEEDS, "slow/1", 500)
    return "slow"


@pytest.fixture
def running(api: Api, slow: str) -> Iterator[Document]:
    """A job that has just begun to give results and has twenty seconds of work left, so that it
    does not end before the test comes to it."""
    job = accepted(api.submit("x\n" + "3\n" * 20_000, wait=0, model=slow))
    wait_until(lambda: shown(api, job)["counts"]["succeeded"])
    yield job
    api.delete(job["urls"]["self"])
