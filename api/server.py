"""Gunicorn's threaded worker, with threads that stay with a connection for a moment, and requests
that wait without a thread (`api/deferral.py`).
"""

import select
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import BoundedSemaphore, Lock
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from api import exchange
from api.deferral import CARRIED, IS_STOPPING, MAY_DEFER, RESUME, Deferred, Later
from api.exchange import Exchange
from api.refusals import refusal

STAY_MS = 20
"""How long a thread waits for the next request of a connection before it hands it back to the event
loop. A client that has the answer sends the next one within a few ms, or not so soon."""

TICK_SECONDS = 0.1
"""How often the event loop looks for requests that have waited for as long as they may."""

LINGER_SECONDS = 2.0
"""How long a client may take to close a connection that is over."""


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
        # Connections whose requests wait. The event loop's own: it hears of one when the thread
        # that put it aside has done with it.
        self._put_aside: dict[Any, _PutAside] = {}
        self._next_tick = 0.0
        # How to go on, by socket.
        self._resumed: dict[Any, _Resumption] = {}

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Any) -> None:
        """What is no HTTP gets a problem document, as all other errors do."""
        request_id = exchange.request_id()
        exchange.begin(Exchange(id=request_id))
        answer = refusal(exc, request_id)
        if answer is None:
            super().handle_error(req, client, addr, exc)
            return
        self.log.warning("request refused: %s", exc)
        # Who has gone, or does not read, misses it.
        with suppress(OSError):
            client.sendall(answer)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Have new connections taken or not; from a worker that stops they are refused.

        Gunicorn's own would leave them waiting for nobody until the last request has its answer,
        and reset them then. A proxy that is refused asks another API at once.
        """
        super().set_accept_enabled(enabled)
        if self.alive:
            return
        for listener in self.sockets:
            self._accept_all(listener)
            listener.close()

    def _accept_all(self, listener: Any) -> None:
        """Take the connections that were made before."""
        taken = -1
        while self.nr_conns > taken:
            taken = self.nr_conns
            self.accept(listener)

    def handle(self, conn: Any) -> Any:
        """Serve the requests of a connection; returns what Gunicorn's own method does, or what its
        request waits for."""
        try:
            kept = super().handle(conn)
            while kept is True and self.alive and self._has_more(conn):
                kept = super().handle(conn)
        except Deferred as deferred:
            # Flask keeps an error in a cycle with its traceback, and that all of the request.
            deferred.__traceback__ = None
            put_aside = _PutAside(deferred.later, deferred.carried)
            deferred.later.listen(partial(self._resume, conn, put_aside))
            return put_aside
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

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Go on with a connection that a thread has done with. Called by the event loop."""
        if fs.cancelled() or fs.exception() is not None:
            super().finish_request(conn, fs)
            return
        result = fs.result()
        if isinstance(result, _PutAside):
            # Another thread may be faster and have put it aside anew.
            if not result.resumed.locked():
                self._put_aside[conn] = result
        elif not result:
            self._linger(conn)
        else:
            super().finish_request(conn, fs)

    # --- requests that wait

    def load_wsgi(self) -> None:
        """Load the application, and tell it with each request whether it may defer its answer, and
        how to learn that it had better end."""
        super().load_wsgi()
        application = self.wsgi

        def is_stopping() -> bool:
            return not self.alive

        # Any: what a WSGI environment holds, and what its server is given to call.
        def answer(environ: dict[str, Any], start_response: Any) -> Any:
            # A stream of HTTP/2 has no connection of its own to put aside.
            if environ.get("HTTP_VERSION") != "2":
                environ[MAY_DEFER] = True
            environ[IS_STOPPING] = is_stopping
            environ[CARRIED] = {}
            if resumption := self._resumed.pop(environ["gunicorn.socket"], None):
                environ[RESUME], environ[CARRIED] = resumption
            try:
                return application(environ, start_response)
            except Deferred as deferred:
                deferred.carried = environ[CARRIED]
                raise

        self.wsgi = answer

    def _resume(self, conn: Any, put_aside: "_PutAside") -> None:
        """Have a thread go on with a request, unless one does already. Called by any thread."""
        if put_aside.resumed.acquire(blocking=False):
            self.method_queue.defer(self._go_on, conn, put_aside)

    def _go_on(self, conn: Any, put_aside: "_PutAside") -> None:
        resume = partial(put_aside.later.resume, is_over=not self.alive)
        self._resumed[conn.sock] = (resume, put_aside.carried)
        conn.parser = _SameRequest(conn)
        self.enqueue_req(conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One round of the event loop."""
        super().wait_for_and_dispatch_events(TICK_SECONDS if self._put_aside else timeout)
        now = time.monotonic()
        if not self._put_aside or (now < self._next_tick and self.alive):
            return
        self._next_tick = now + TICK_SECONDS
        for conn, put_aside in list(self._put_aside.items()):
            if put_aside.later.resume_at <= now or not self.alive:
                self._resume(conn, put_aside)
            if put_aside.resumed.locked():
                del self._put_aside[conn]

    # --- the end of a connection

    def _linger(self, conn: Any) -> None:
        """Close a connection when its client has done so, or soon (RFC 9112 §9.6).

        Gunicorn's own method waits for the client, and with it the event loop.
        """
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError):
            self.nr_conns -= 1
            conn.close()
            return
        conn.timeout = time.monotonic() + LINGER_SECONDS
        # Closed from there when the time is over.
        self.pending_conns.append(conn)

    def _drain(self, conn: Any, client: Any) -> None:
        """Throw away what a client sends after the end, up to its own."""
        try:
            if client.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        self.nr_conns -= 1
        conn.close()


_Resumption = tuple[Callable[[], Any], dict[str, object]]
"""How to go on, and what the request carries along."""


@dataclass(eq=False)
class _PutAside:
    """One time that a connection's request was put aside."""

    later: Later
    carried: dict[str, object]
    resumed: Lock = field(default_factory=Lock)
    """Held by who has it go on, for ever."""


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
