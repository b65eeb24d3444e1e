"""What a service uses while it works: CPU seconds and peak memory by process group.

Memory is sampled in a process of its own, which takes next to nothing; CPU seconds are the system's
own count before and after.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import redis

SAMPLE_SECONDS = 0.05

STALL = "stall_seconds"
"""Longest time by which the sampling process woke up late: that long the machine stood still."""

BESIDE = ("redis", "flower")
"""Groups that are not counted as the service itself."""

Groups = Mapping[str, Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to watch from now on. `has_pss`: shared pages are divided among their users, which
    takes milliseconds of each process watched."""

    groups: Groups
    redis_socket: Path | None
    has_pss: bool


def watch(orders: "Connection[object, object]") -> None:
    """The sampling process: takes an Order, samples until the next message, answers the peaks."""
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            order = orders.recv()
            if isinstance(order, Order):
                orders.send(_peaks(order, orders))


def _peaks(order: Order, orders: "Connection[object, object]") -> dict[str, float]:
    processes = {
        name: [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
        for name, pids in order.groups.items()
    }
    server = redis.Redis(unix_socket_path=str(order.redis_socket)) if order.redis_socket else None
    peaks: dict[str, float] = {STALL: 0.0}
    began = time.monotonic()
    while True:
        peaks[STALL] = max(peaks[STALL], time.monotonic() - began - SAMPLE_SECONDS)
        began = time.monotonic()
        sample = _sample(processes, has_pss=order.has_pss)
        if server:
            sample["redis.used"] = server.info("memory")["used_memory"]
        for name, value in sample.items():
            peaks[name] = max(peaks.get(name, 0), value)
        if orders.poll(max(0.0, began + SAMPLE_SECONDS - time.monotonic())):
            orders.recv()
            return peaks


def _sample(
    processes: Mapping[str, Sequence[psutil.Process]], *, has_pss: bool
) -> dict[str, float]:
    """Bytes by group and for the service as a whole, as `rss.api` or `pss.service`."""
    sample: dict[str, float] = {}
    for group, members in processes.items():
        for member in members:
            with suppress(psutil.Error):
                found = {"rss": member.memory_info().rss}
                if has_pss:
                    found["pss"] = member.memory_full_info().pss
                for kind, size in found.items():
                    names = [group] if group in BESIDE else [group, "service"]
                    for name in names:
                        sample[f"{kind}.{name}"] = sample.get(f"{kind}.{name}", 0) + size
    return sample


def cpu_seconds(groups: Groups) -> dict[str, float]:
    """User and system time so far by group, as `cpu.api`."""
    found: dict[str, float] = {}
    for group, pids in groups.items():
        for pid in pids:
            with suppress(psutil.Error):
                times = psutil.Process(pid).cpu_times()
                name = f"cpu.{group}"
                found[name] = found.get(name, 0.0) + times.user + times.system
    return found


class Meter:
    """Measures what services use."""

    def __init__(self, orders: "Connection[object, object]") -> None:
        self._orders = orders

    @contextmanager
    def measuring(
        self, groups: Groups, redis_socket: Path | None, *, has_pss: bool = False
    ) -> Iterator[dict[str, float]]:
        """Yields a dict that is filled at the end: `cpu.…` in seconds, `rss.…`, `pss.…` and
        `redis.used` in bytes at their peaks, and STALL."""
        usage: dict[str, float] = {}
        self._orders.send(Order(groups=groups, redis_socket=redis_socket, has_pss=has_pss))
        before = cpu_seconds(groups)
        try:
            yield usage
        finally:
            after = cpu_seconds(groups)
            self._orders.send("that is all")
            answer = self._orders.recv()
        if isinstance(answer, dict):
            usage |= answer
        usage |= {name: after[name] - before.get(name, 0.0) for name in after}


@contextmanager
def meter() -> Iterator[Meter]:
    """A meter with its sampling process."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=watch, args=(there,), daemon=True)
    process.start()
    try:
        yield Meter(here)
    finally:
        process.terminate()
        process.join()
