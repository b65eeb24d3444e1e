"""Many small jobs from one lean client: one thread, keep-alive connections, no library.

The client is the same for every service; what is said differs (`benchmarks.conversations`).
"""

import gc
import heapq
import selectors
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from benchmarks.answers import BrokenAnswerError
from benchmarks.connections import TIMEOUT_SECONDS, Connection
from benchmarks.conversations import Conversation, Pause, RefusedError


@dataclass(frozen=True, kw_only=True)
class Load:
    """Jobs to be done: one conversation per body."""

    port: int
    converse: Callable[[bytes], Conversation]
    bodies: Sequence[bytes]
    connections: int = 16
    jobs_per_second: float | None = None
    """None: the next job begins when a connection is free. Else jobs are due at this pace, whether
    the ones before have ended or not, and take as long as from then to their end."""


@dataclass(kw_only=True)
class LoadRun:
    """What came of a load; lists are in the order of the bodies."""

    latencies_seconds: list[float]
    answers: list[bytes]
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0


class Client:
    """Does the jobs of a load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._selector = selectors.DefaultSelector()
        self._idle = [Connection(load.port, self._selector) for _ in range(load.connections)]
        self._pauses: list[tuple[float, int, Connection]] = []
        self._begun_jobs = 0
        self._ended_jobs = 0
        jobs = len(load.bodies)
        self._run = LoadRun(latencies_seconds=[0.0] * jobs, answers=[b""] * jobs)

    def run(self) -> LoadRun:
        """All jobs, from the first request to the last answer."""
        jobs = len(self._load.bodies)
        connections = list(self._idle)
        with closing(self._selector):
            self._began = time.perf_counter()
            while self._ended_jobs < jobs:
                self._begin_due()
                for key, _ in self._arrivals():
                    self._step(key.data, key.data.receive)
                while self._pauses and self._pauses[0][0] <= time.perf_counter():
                    connection = heapq.heappop(self._pauses)[2]
                    self._step(connection, connection.go_on)
            self._run.seconds = time.perf_counter() - self._began
            for connection in connections:
                connection.close()
        return self._run

    def _due(self, job: int) -> float:
        pace = self._load.jobs_per_second
        return self._began + (job / pace if pace else 0.0)

    def _begin_due(self) -> None:
        while self._idle and self._begun_jobs < len(self._load.bodies):
            now, due = time.perf_counter(), self._due(self._begun_jobs)
            if due > now:
                return
            connection = self._idle.pop()
            connection.number = self._begun_jobs
            connection.began = due if self._load.jobs_per_second else now
            connection.conversation = self._load.converse(self._load.bodies[connection.number])
            self._begun_jobs += 1
            self._step(connection, connection.go_on)

    def _arrivals(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Connections with bytes to read; none when something else is due first."""
        moments = [self._pauses[0][0]] if self._pauses else []
        if self._idle and self._begun_jobs < len(self._load.bodies):
            moments.append(self._due(self._begun_jobs))
        if moments:
            return self._selector.select(max(0.0, min(moments) - time.perf_counter()))
        arrivals = self._selector.select(TIMEOUT_SECONDS)
        if not arrivals:
            raise TimeoutError(f"No answer for {TIMEOUT_SECONDS} s.")
        return arrivals

    def _step(self, connection: Connection, step: Callable[[], bytes | Pause | None]) -> None:
        """One move of a conversation, and what follows from it."""
        try:
            said = step()
            if isinstance(said, Pause):
                moment = time.perf_counter() + said.seconds
                heapq.heappush(self._pauses, (moment, connection.number, connection))
            elif said is not None:
                connection.send(said)
            return
        except StopIteration as end:
            self._run.answers[connection.number] = end.value
        except (RefusedError, BrokenAnswerError, OSError) as error:
            self._run.errors.append(f"{type(error).__name__}: {error}")
            connection.close()
        seconds = time.perf_counter() - connection.began
        self._run.latencies_seconds[connection.number] = seconds
        self._ended_jobs += 1
        self._idle.append(connection)


def run(load: Load) -> LoadRun:
    """Do a load in this process, which had better do nothing else."""
    gc.collect()
    gc.freeze()
    began = time.process_time()
    result = Client(load).run()
    result.cpu_seconds = time.process_time() - began
    return result
