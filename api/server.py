"""Gunicorn's threaded worker, with threads that stay with a connection for a moment."""

import select
from threading import BoundedSemaphore
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

STAY_MS = 20
"""How long a thread waits for the next request of a connection before it hands it back to the event
loop. A client that has the answer sends the next one within a few ms, or not so soon."""


class StayingWorker(ThreadWorker):  # type: ignore[misc]  # Gunicorn has no types
    """Spares most requests of a busy connection the way through the event loop.

    Handing a connection to the loop and back costs three changes of thread with the interpreter
    lock in between, more than the work on a small request. At most half of the threads wait so, and
    the others are for connections that the loop hands out.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._may_stay = BoundedSemaphore(max(1, self.cfg.threads // 2))

    def handle(self, conn: Any) -> Any:
        """Serve the requests of a connection; returns what Gunicorn's own method does."""
        kept = super().handle(conn)
        while kept is True and self.alive and self._has_more(conn):
            kept = super().handle(conn)
        return kept

    def _has_more(self, conn: Any) -> bool:
        """Whether the next request has come soon. One that was read ahead is the loop's."""
        if conn.is_http2 or conn.parser.unreader.buf.getvalue():
            return False
        if not self._may_stay.acquire(blocking=False):
            return False
        try:
            poll = select.poll()
            poll.register(conn.sock, select.POLLIN)
            return bool(poll.poll(STAY_MS))
        finally:
            self._may_stay.release()
