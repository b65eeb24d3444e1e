"""Celery's consumer, but one that looks for its broker every second and goes on meanwhile.

Celery's own pauses grow to half a minute, in which nothing else happens in a worker's main process.
A worker whose jobs are in Redis and whose broker is another server would fall silent and count as
dead for as long as that server is away, while its processes score what there is.
"""

import logging
from contextlib import ExitStack
from time import sleep
from typing import Any

from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1


class PatientConsumer(Consumer):
    """Goes on firing the timers of its event loop, and with them the supervisor, while it waits."""

    # kombu comes without types, and celery-types without these.
    hub: Any
    conninfo: Any
    amqheartbeat: Any

    def connect(self) -> Any:
        """A connection that is listened to; none is left over where that fails.

        Raises an error of the connection's if its broker answers and refuses writes: kombu begins
        with one.
        """
        if self.hub:
            # However often Celery comes here, and sleeps in between.
            self._go_on()
        connection = self.connection_for_read(heartbeat=self.amqheartbeat)
        with ExitStack() as unfinished:
            unfinished.callback(connection.release)
            if self.hub:
                connection.transport.register_with_event_loop(connection.connection, self.hub)
            unfinished.pop_all()
        return connection

    def ensure_connected(self, conn: Any) -> Any:
        """The connection, as soon as there is one."""

        connected = conn.ensure_connection(
            lambda error, _: self._report(conn, error),
            interval_start=RETRY_SECONDS,
            interval_step=0,
            interval_max=RETRY_SECONDS,
            callback=self._go_on,
        )
        self.first_connection_attempt = False
        return connected

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Wait a second; Celery tries five times in one, and waits then."""
        self._report(self.conninfo, exc)
        sleep(RETRY_SECONDS)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Let go of a connection that is lost, also of one that can't be closed."""
        try:
            super().on_connection_error_after_connected(exc)
        except AttributeError as error:
            # With a message that is not acknowledged kombu 5.7 asks a connection that it has let go
            # of. Celery would take that for an error of its own, and end the worker.
            logger.warning("lost connection not closed", extra={"reason": str(error)})

    def _report(self, connection: Any, error: Exception) -> None:
        fields = {"broker": connection.as_uri(), "reason": str(error)}
        logger.warning("broker out of reach", extra=fields)

    def _go_on(self) -> None:
        maybe_shutdown()
        # Those of the connection that was lost are cancelled by now.
        self.hub.fire_timers()
