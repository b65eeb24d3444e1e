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
from typing import Literal, NamedTuple, Protocol

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


class Listener(Protocol):
    """Is told what is heard of a job: its end, or None if one had better look for oneself."""

    def put(self, told: Told | None, /) -> None:
        """Called in any thread, while others wait: it must return soon and not call `Ends`."""


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
        self._waiting: dict[str, list[Listener]] = {}
        self._unclaimed: OrderedDict[str, Told | None] = OrderedDict()

    def channel(self) -> str:
        """The channel that this process listens to now; another one after its connection was cut.

        Raises StoreUnavailableError.
        """
        with self._lock:
            # Not before: the server forks its processes after the application was made.
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="ends", daemon=True)
                self._thread.start()
        if not self._is_subscribed.wait(SUBSCRIBED_WITHIN_SECONDS):
            raise StoreUnavailableError
        return self._channel

    def wait(self, awaited: Awaited, *, timeout_seconds: float) -> Seen:
        """A job as soon as it has ended, or as it is after the timeout.

        Raises JobNotFoundError, JobGoneError, StoreUnavailableError, and what
        `wait_until_taken_in` raises.
        """
        deadline = time.monotonic() + timeout_seconds
        told: SimpleQueue[Told | None] = SimpleQueue()
        self.listen(awaited.job_id, told)
        # What was told on a channel of before was not heard.
        is_told = bool(awaited.told_on) and awaited.told_on == self._channel
        try:
            while True:
                if not is_told:
                    awaited.wait_until_taken_in()
                    if not self._store.await_end(awaited.job_id, self.channel()):
                        return Seen(job=self._store.get(awaited.job_id))
                left = deadline - time.monotonic()
                with suppress(Empty):
                    if end := told.get(timeout=max(0.0, min(left, LOOK_SECONDS))):
                        return end.seen(awaited)
                    # It was deleted or not taken in, or the listener was deaf for a while.
                    is_told = False
                    continue
                if deadline <= time.monotonic():
                    awaited.wait_until_taken_in()
                    return Seen(job=self._store.get(awaited.job_id))
                is_told = False
        finally:
            self.leave(awaited.job_id, told)

    def look(self, job_id: str) -> None:
        """Have who waits for a job look for itself."""
        self._pass_on(job_id, None)

    def listen(self, job_id: str, listener: Listener) -> None:
        """Tell a listener what is heard of a job from now on, and what was before it asked.

        Only of jobs whose end is told on the `channel`.
        """
        with self._lock:
            self._waiting.setdefault(job_id, []).append(listener)
            if job_id in self._unclaimed:
                listener.put(self._unclaimed.pop(job_id))

    def leave(self, job_id: str, listener: Listener) -> None:
        """Tell it no more."""
        with self._lock:
            waiting = self._waiting[job_id]
            waiting.remove(listener)
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
            for listener in waiting or ():
                listener.put(told_end)
            if not waiting:
                self._unclaimed[job_id] = told_end
                if len(self._unclaimed) > UNCLAIMED:
                    self._unclaimed.popitem(last=False)

    def _pass_on_doubt(self) -> None:
        with self._lock:
            for waiting in self._waiting.values():
                for listener in waiting:
                    listener.put(None)
