"""Who waits for the end of jobs is told, however many jobs that are: one subscription a process.

A job's record names the channels on which its end is told (`submit_jobs.lua`, `await_end.lua`). A
message may be lost with a connection, so whoever waits looks for itself after one.
"""

import json
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Literal, NamedTuple

from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError

from shared.errors import StoreError, StoreUnavailableError
from shared.job_store import keys, records
from shared.job_store.connection import translated_errors
from shared.job_store.store import JobStore
from shared.jobs import Job, JobSpec

logger = logging.getLogger(__name__)

SUBSCRIBED_WITHIN_SECONDS = 5.0
"""A server that does not answer a subscription in so long is as good as gone."""

RECONNECT_SECONDS = 0.2

UNCLAIMED = 1000
"""Ends kept for those who were told of them before they asked."""

LOOK_SECONDS = 10.0
"""How often who waits looks for itself: a connection may be dead without anybody having noticed."""


def _at_once() -> None:
    """For a job that is in the store."""


@dataclass(frozen=True, kw_only=True)
class Awaited:
    """A job whose end somebody waits for."""

    job_id: str
    spec: JobSpec
    told_on: str = ""
    """The `channel` that it was submitted with, if with any."""
    wait_until_taken_in: Callable[[], object] = _at_once
    """Returns when the job is in the store; raises why it was not taken in."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A job when it has ended, or as it is when the wait is over."""

    job: Job
    results: bytes = b""
    """Result lines, if they are few and were told with the end."""


class Told(NamedTuple):
    """The end of a job as a script told it."""

    at_ms: int
    values: list[str | Literal[False]]
    """Of the record's fields in `records.OF_JOB`."""
    results: str

    def seen(self, awaited: Awaited) -> Seen:
        """The same for who knows what was asked for."""
        job = records.parse_told_job(
            awaited.job_id, awaited.spec, self.values, read_at_ms=self.at_ms
        )
        return Seen(job=job, results=self.results.encode())


class Ends:
    """Hears the ends of jobs that its process waits for. Safe to share by threads."""

    def __init__(self, redis: Redis, store: JobStore) -> None:
        self._redis = redis
        self._store = store
        self._lock = threading.Lock()
        self._channel = ""
        self._thread: threading.Thread | None = None
        self._is_subscribed = threading.Event()
        self._is_closed = threading.Event()
        self._waiting: dict[str, list[Hearing]] = {}
        self._unclaimed: OrderedDict[str, Told | None] = OrderedDict()

    def channel(self, *, timeout_seconds: float = SUBSCRIBED_WITHIN_SECONDS) -> str:
        """The channel that this process listens to now; another one after its connection was cut.

        Raises StoreUnavailableError when it listens to none, and doesn't for so long.
        """
        with self._lock:
            # Not before: the server forks its processes after the application was made.
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="ends", daemon=True)
                self._thread.start()
        if not self._is_subscribed.wait(timeout_seconds):
            raise StoreUnavailableError
        return self._channel

    def hear(self, awaited: Awaited) -> "Hearing":
        """Hear from now on what is told of a job, and what was told of one that is new."""
        return Hearing(self, self._store, awaited)

    def listens_to(self, channel: str) -> bool:
        """Whether this is still the `channel`."""
        return channel == self._channel

    def look(self, job_id: str) -> None:
        """Have who waits for a job look for itself."""
        self._pass_on(job_id, None)

    def add(self, hearing: "Hearing") -> None:
        """Tell it what is heard of its job from now on, and of a new one what was before."""
        job_id = hearing.awaited.job_id
        with self._lock:
            self._waiting.setdefault(job_id, []).append(hearing)
            # Others look first, and would take it from who needs it.
            if hearing.awaited.told_on and job_id in self._unclaimed:
                hearing.put(self._unclaimed.pop(job_id))

    def remove(self, hearing: "Hearing") -> None:
        """Tell it no more."""
        job_id = hearing.awaited.job_id
        with self._lock:
            waiting = self._waiting[job_id]
            waiting.remove(hearing)
            if not waiting:
                del self._waiting[job_id]

    def close(self) -> None:
        """Listen no more, within a second or so."""
        self._is_closed.set()

    # --- the listener

    def _listen(self) -> None:
        while not self._is_closed.is_set():
            try:
                with self._redis.pubsub() as subscription:  # type: ignore[no-untyped-call]
                    self._hear(subscription)
            except (StoreError, RedisError, OSError) as error:
                logger.warning("ends of jobs not heard", extra={"reason": str(error)})
            self._is_subscribed.clear()
            self._is_closed.wait(RECONNECT_SECONDS)

    def _hear(self, subscription: PubSub) -> None:
        """Pass on what is told until the connection fails, or has failed and was mended."""
        is_subscribed = False
        with translated_errors():
            self._channel = keys.ends(secrets.token_hex(8))
            subscription.subscribe(self._channel)
            while not self._is_closed.is_set():
                message = subscription.get_message(timeout=1.0)
                if message is None:
                    continue
                if message["type"] == "message":
                    self._tell(message["data"])
                elif is_subscribed:
                    return  # the client has subscribed anew by itself and may have missed some
                else:
                    is_subscribed = True
                    self._is_subscribed.set()
                    # What was told before this subscription stood was not heard.
                    self._pass_on_doubt()

    def _tell(self, message: bytes) -> None:
        """`message`: JSON of the time (ms) and lists of a job's id, the values of its record and a
        small job's results; of a job that was deleted the id alone."""
        try:
            now_ms, jobs = json.loads(message)
            ends = {job_id: Told(int(now_ms), *end) if end else None for job_id, *end in jobs}
        except (ValueError, TypeError):
            logger.exception("message not understood", extra={"message_bytes": len(message)})
            self._pass_on_doubt()
            return
        for job_id, end in ends.items():
            self._pass_on(job_id, end)

    def _pass_on(self, job_id: str, told_end: Told | None) -> None:
        with self._lock:
            waiting = self._waiting.get(job_id)
            for hearing in waiting or ():
                hearing.put(told_end)
            if not waiting:
                self._unclaimed[job_id] = told_end
                if len(self._unclaimed) > UNCLAIMED:
                    self._unclaimed.popitem(last=False)

    def _pass_on_doubt(self) -> None:
        with self._lock:
            for waiting in self._waiting.values():
                for hearing in waiting:
                    hearing.put(None)


class Hearing:
    """What is heard of one job, for one who waits for its end, until it is closed.

    It hears on between two waits, so nothing is missed then. One thread at a time may use it.
    """

    def __init__(self, ends: Ends, store: JobStore, awaited: Awaited) -> None:
        self.awaited = awaited
        self._ends = ends
        self._store = store
        self._told: SimpleQueue[Told | None] = SimpleQueue()
        self._call: Callable[[], None] = _at_once
        ends.add(self)
        # What was told on a channel of before was not heard.
        self._is_told = bool(awaited.told_on) and ends.listens_to(awaited.told_on)

    def close(self) -> None:
        """Hear nothing more."""
        self._ends.remove(self)

    def put(self, told: Told | None) -> None:
        """The end of the job, or None if one had better look. Called in any thread."""
        self._told.put(told)
        self._call()

    def listen(self, call: Callable[[], None]) -> None:
        """Have `call` called when something is heard, or was since the last `wait`, until the next
        one. It must return soon and may be called more than once, by any thread."""
        self._call = call
        if not self._told.empty():
            call()

    def heard(self) -> Seen | None:
        """The job as it ended, if that was heard and nothing that puts it in doubt."""
        self._call = _at_once
        with suppress(Empty):
            while self._is_told:
                if end := self._told.get_nowait():
                    return end.seen(self.awaited)
                self._is_told = False
        return None

    def wait(self, *, timeout_seconds: float) -> Seen:
        """The job as soon as it has ended, or as it is after the timeout.

        Raises JobNotFoundError, JobGoneError, StoreUnavailableError, and what
        `wait_until_taken_in` raises.
        """
        deadline = time.monotonic() + timeout_seconds
        if seen := self.heard():
            return seen
        while True:
            if not self._is_told and not self._have_told(deadline):
                return self._now()
            left = deadline - time.monotonic()
            with suppress(Empty):
                if end := self._told.get(timeout=max(0.0, min(left, LOOK_SECONDS))):
                    return end.seen(self.awaited)
                # It was deleted or not taken in, or the listener was deaf for a while.
                self._is_told = False
                continue
            if deadline <= time.monotonic():
                self.awaited.wait_until_taken_in()
                return self._now()
            self._is_told = False

    def _have_told(self, deadline: float) -> bool:
        """Have the job's end told to this process; False if it has ended or is gone."""
        self.awaited.wait_until_taken_in()
        left = max(0.0, deadline - time.monotonic())
        channel = self._ends.channel(timeout_seconds=min(left, SUBSCRIBED_WITHIN_SECONDS))
        self._is_told = self._store.await_end(self.awaited.job_id, channel)
        return self._is_told

    def _now(self) -> Seen:
        return Seen(job=self._store.get(self.awaited.job_id))
