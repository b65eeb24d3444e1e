"""Trying again: a request that may be repeated survives a server that is away or overloaded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from rowmill.errors import RowmillError, UnreachableError
from rowmill.polling import Clock
from rowmill.transport import Transport

Result = TypeVar("Result")

FIRST_PAUSE_SECONDS = 0.5
"""Where the server names no `Retry-After`; each pause is twice as long as the one before."""

LONGEST_PAUSE_SECONDS = 8.0
"""Of those; else half of the patience would go into one pause, or be left over for want of it."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long requests to one server are tried again."""

    transport: Transport
    clock: Clock
    seconds: float
    """Of the pauses between attempts, together. The attempts' own time doesn't count: an upload
    that breaks off in its tenth minute gets as many more as one that breaks off at once."""

    def run(
        self, attempt: Callable[[], Result], *, may_repeat: Callable[[], bool] = lambda: True
    ) -> Result:
        """What an attempt gives.

        Raises what an attempt raises for good, and at once what asks for a longer pause than
        there is patience.
        """
        rest_seconds, own_pause_seconds = self.seconds, FIRST_PAUSE_SECONDS
        while True:
            try:
                return attempt()
            except RowmillError as error:
                asked = error.retry_after_seconds
                pause_seconds = own_pause_seconds if asked is None else max(asked, 0.1)
                is_hopeless = pause_seconds > rest_seconds or not self._may_pass(error)
                if is_hopeless or not may_repeat():
                    raise
            self.clock.sleep(pause_seconds)
            rest_seconds -= pause_seconds
            own_pause_seconds = min(2 * own_pause_seconds, LONGEST_PAUSE_SECONDS)

    def _may_pass(self, error: RowmillError) -> bool:
        # A server that was never there has another address, or must be started first.
        is_known = self.transport.has_reached_server
        return error.may_pass and (is_known or not isinstance(error, UnreachableError))
