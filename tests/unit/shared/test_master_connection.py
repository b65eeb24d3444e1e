"""How the sentinels are asked."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from redis.exceptions import ConnectionError

from shared.master_connection import Sentinels

MASTER = {"ip": "host", "port": 6379, "is_master": True, "is_sdown": False, "is_odown": False}


class Away:
    """One that is asked in vain."""

    def sentinel_masters(self) -> dict[str, Any]:
        raise ConnectionError


class Answering:
    """One that answers two at a time."""

    def __init__(self) -> None:
        self._both = Barrier(2, timeout=20)

    def sentinel_masters(self) -> dict[str, Any]:
        self._both.wait()
        return {"main": MASTER | {"num-other-sentinels": 2}}


def test_threads_that_ask_at_once_forget_no_sentinel() -> None:
    asked = Sentinels([])
    known = [Away(), Answering(), Away()]
    asked.sentinels = list(known)

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(asked.discover_master, ["main", "main"]))

    assert found == [("host", 6379)] * 2
    assert asked.sentinels[0] is known[1]
    assert set(asked.sentinels) == set(known)
