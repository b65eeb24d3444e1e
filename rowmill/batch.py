"""Several inputs, a few at a time: one is sent while another is scored and a third is written."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rowmill.client import Client
from rowmill.errors import ProblemError, RowmillError, TransportError
from rowmill.formats import Format
from rowmill.jobs import Job
from rowmill.polling import DEFAULT_PAUSE_SECONDS
from rowmill.progress_bar import Track
from rowmill.scoring import Order, awaited, submitted, write_outcome

AT_ONCE = 3
"""Jobs at a time: one to send, one to score, one to write. More only fill the server's queue."""

QUEUE_PATIENCE_SECONDS = 600.0
"""How long a server that has too much queued is asked again; what is queued may be this batch."""

STOP_SECONDS = 2.0
"""How long threads get to notice that the batch is stopped: they look at least once a second."""


class StoppedError(RowmillError):
    """The batch was stopped before this input was done."""

    def __init__(self) -> None:
        super().__init__("It was not done: the command was stopped.")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One input and where its predictions go."""

    source: str
    target: Path
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How it went with one input: a job in a good end state, or an error."""

    item: Item
    job: Job | None = None
    error: RowmillError | None = None


class Batch:
    """Scores inputs in threads of its own; one use only."""

    def __init__(
        self,
        connect: Callable[[], Client],
        order: Order,
        *,
        format: Format,
        track: Callable[[int], Track],
    ) -> None:
        self.running: dict[str, str] = {}
        """Ids of the jobs that are not done, by source."""
        self._connect = connect
        self._order = order
        self._format = format
        self._track = track
        self._stop = threading.Event()

    def outcomes(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """One for each input, as they come; without a server the rest is not begun."""
        todo: queue.SimpleQueue[Item] = queue.SimpleQueue()
        done: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()
        for item in items:
            todo.put(item)
        # Daemons: one that hangs in a send must not keep the process from its end.
        threads = [
            threading.Thread(target=self._work, args=(todo, done), daemon=True)
            for _ in range(min(AT_ONCE, len(items)))
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in items:
                outcome = done.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(STOP_SECONDS)

    def _work(
        self,
        todo: queue.SimpleQueue[Item],
        done: queue.SimpleQueue[Outcome | BaseException],
    ) -> None:
        while True:
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put(self._outcome(item))
            except BaseException as error:  # noqa: BLE001 (handed to the thread that waits)
                done.put(error)
                return

    def _outcome(self, item: Item) -> Outcome:
        track = self._track(item.size_bytes)
        try:
            if self._stop.is_set():
                raise StoppedError
            return Outcome(item=item, job=self._scored(item, track))
        except RowmillError as error:
            if isinstance(error, TransportError):
                self._stop.set()  # what could not be reached for a minute is not there for the rest
            return Outcome(item=item, error=error)
        finally:
            track.ended()

    def _scored(self, item: Item, track: Track) -> Job:
        def sent(sent_bytes: int) -> None:
            self._check()
            track.sent(sent_bytes)

        def seen(job: Job) -> None:
            self._check()
            track.seen(job)

        with self._connect() as client:
            job_id = self._admitted(
                lambda: submitted(client, item.source, self._order, on_sent=sent)
            )
            self.running[item.source] = job_id
            job = awaited(client, job_id, self._order, on_progress=seen)
            write_outcome(client, job_id, self._order, target=str(item.target), format=self._format)
        del self.running[item.source]
        return job

    def _admitted(self, submit: Callable[[], str]) -> str:
        """The id of the job, once the server has room for it."""
        patience_seconds = QUEUE_PATIENCE_SECONDS
        while True:
            try:
                return submit()
            except ProblemError as error:
                pause_seconds = error.retry_after_seconds or DEFAULT_PAUSE_SECONDS
                if error.status != 429 or pause_seconds > patience_seconds:
                    raise
            patience_seconds -= pause_seconds
            self._stop.wait(pause_seconds)
            self._check()

    def _check(self) -> None:
        if self._stop.is_set():
            raise StoppedError
