"""Gunicorn's threaded worker, with threads that stay with a connection for a moment, and requests
that wait without a thread (`api/deferral.py`).
"""

import select
import time
from collections.abc import Callable
from functools import partial
from threading import BoundedSemaphore
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from api.deferral import MAY_DEFER, RESUMED, Deferred, Later

STAY_MS = 20
"""How long a thread waits for the next request of a connection before it hands it back to the event
loop. A client that has the answer sends the next one within a few ms, or not so soon."""

LOOK_SECONDS = 0.1
"""How often it is looked whether a request has waited for as long as it may."""

_PUT_ASIDE = object()
"""In place of whether a connection is kept: its request waits."""


class StayingWorker(ThreadWorker):  # type: ignore[misc]  # Gunicorn has no types
    """Spares most requests of a busy connection the way through the event loop.

    Handing a connection to the loop and back costs three changes of thread with the interpreter
    lock in between, more than the work on a small request. At most half of the threads wait so, and
    the others are for connections that the loop hands out.
    """

    wsgi: Any
    """The application, as Gunicorn calls it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._may_stay = BoundedSemaphore(max(1, self.cfg.threads // 2))
        self._put_aside: dict[Any, Later] = {}
        self._resumed: dict[Any, Callable[[], Any]] = {}
        self._next_look = 0.0

    def handle(self, conn: Any) -> Any:
        """Serve the requests of a connection; returns what Gunicorn's own method does."""
        try:
            kept = super().handle(conn)
            while kept is True and self.alive and self._has_more(conn):
                kept = super().handle(conn)
        except Deferred as deferred:
            self._put_aside[conn] = deferred.later
            deferred.later.listen(partial(self._resume, conn))
            return _PUT_ASIDE
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

    # --- requests that wait

    def load_wsgi(self) -> None:
        """Load the application, and tell it with each request that it may defer its answer."""
        super().load_wsgi()
        application = self.wsgi

        # Any: what a WSGI environment holds, and what its server is given to call.
        def answer(environ: dict[str, Any], start_response: Any) -> Any:
            environ[MAY_DEFER] = True
            environ[RESUMED] = self._resumed.pop(environ["gunicorn.socket"], None)
            return application(environ, start_response)

        self.wsgi = answer

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Go on with a connection whose request was answered. Called in the event loop's thread."""
        if not fs.cancelled() and fs.exception() is None and fs.result() is _PUT_ASIDE:
            return
        super().finish_request(conn, fs)

    def _resume(self, conn: Any) -> None:
        """Have a thread go on with a request that waits, unless one does already."""
        later = self._put_aside.pop(conn, None)
        if later is None:
            return
        self._resumed[conn.sock] = partial(later.resume, is_over=not self.alive)
        conn.parser = _SameRequest(conn)
        self.enqueue_req(conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One round of the event loop."""
        super().wait_for_and_dispatch_events(LOOK_SECONDS if self._put_aside else timeout)
        now = time.monotonic()
        if self._put_aside and (now >= self._next_look or not self.alive):
            self._next_look = now + LOOK_SECONDS
            for conn, later in list(self._put_aside.items()):
                if later.resume_at <= now or not self.alive:
                    self._resume(conn)


class _SameRequest:
    """Stands in for a connection's parser, and gives out the request again that came last."""

    def __init__(self, conn: Any) -> None:
        self._conn = conn
        self._parser = conn.parser

    # Any: Gunicorn's request.
    def __next__(self) -> Any:
        self._conn.parser = self._parser
        request = self._parser.mesg
        # Who was told to go on with a body has sent it.
        request._expected_100_continue = False
        return request
