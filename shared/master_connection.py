"""Connections to whichever server the sentinels call the master.

What redis-py 8 leaves out of https://redis.io/docs/latest/develop/reference/sentinel-clients/ :

- A connection asks for the master whenever it is made. redis-py asks when a pool hands it out, and
  one in use that is lost goes back to where it was, to a server that is a replica by now
  (https://github.com/redis/redis-py/issues/3874). There a transaction whose keys are watched is
  tried for ever, and with it stood still the worker whose messages kombu was giving back.
- The server is asked for its role. A sentinel names the old master for a second longer, and who
  connects meanwhile would go on reading a replica, which lags.

And what it does for other connections, but not for these: one whose answer did not come in time is
closed. Who uses it next would take that answer for its own.
"""

from copy import copy
from typing import Any

from redis import SSLConnection
from redis.exceptions import ConnectionError, ResponseError
from redis.sentinel import Sentinel, SentinelManagedConnection


class Sentinels(Sentinel):
    """Those who are asked; safe to share by threads."""

    sentinels: list[Any]  # clients, in the order in which they are asked

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Host and port. Raises MasterNotFoundError if no sentinel knows a master that is up."""
        # redis-py puts who answered first by two assignments, between which another thread does:
        # one sentinel would be there twice, and one no more.
        own = copy(self)
        own.sentinels = list(self.sentinels)
        address: tuple[str, int] = super(Sentinels, own).discover_master(service_name)  # type: ignore[no-untyped-call]
        self.sentinels = own.sentinels
        return address


class MasterConnection(SentinelManagedConnection):
    """Raises redis' ConnectionError where there is no master, or none within reach."""

    # Any: bytes, or several of them; redis-py says neither.
    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send a command, to the master as it is now if the connection has to be made for it."""
        if not self.is_connected:
            # Once: who sends tries again.
            self.connect_to(self.connection_pool.get_master_address())  # type: ignore[no-untyped-call]
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]

    def read_response(
        self,
        disable_decoding: bool = False,
        *,
        disconnect_on_error: bool | None = True,
        **options: Any,
    ) -> Any:
        """The next answer, as redis-py's other connections read it."""
        try:
            return super().read_response(
                disable_decoding, disconnect_on_error=disconnect_on_error, **options
            )
        except ResponseError as error:
            # A master whose replicas left it may be one no more, and be told of it ten seconds
            # later: who comes next asks the sentinels.
            if str(error).startswith("NOREPLICAS"):
                self.mark_for_reconnect()  # type: ignore[no-untyped-call]
            raise

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """Log in, and see what it is that was connected to."""
        super().on_connect_check_health(check_health)
        # The answer to HELLO. None is asked for where an option says `protocol=2`: a replica is
        # noticed there when it refuses a write, not before.
        answer: Any = self.handshake_metadata or {}
        if answer.get(b"role", answer.get("role")) not in (b"master", "master", None):
            raise ConnectionError(f"{self.host}:{self.port} is not the master")


class SecureMasterConnection(MasterConnection, SSLConnection):
    """The same, with TLS."""
