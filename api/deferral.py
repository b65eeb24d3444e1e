"""An answer that has to wait, and holds no thread meanwhile: what application and server agree on.

WSGI (PEP 3333) knows nothing like it; servlets call it asynchronous processing. Where the
environment of a request has `MAY_DEFER` the application may raise `Deferred` instead of answering.
The server puts the connection aside, and calls the application once more with the same request when
it is time to. The environment then has `RESUME`, a function that gives the answer.
"""

from collections.abc import Callable
from typing import Protocol

from flask import Response

MAY_DEFER = "rowmill.may_defer"
RESUME = "rowmill.resume"

CARRIED = "rowmill.carried"
"""A dict of the application's own. When a request is resumed, its environment has the same one."""

IS_STOPPING = "rowmill.is_stopping"
"""Where an environment has it: a function that says whether the server is about to stop, so that an
answer without an end had better come to one."""


class Later(Protocol):
    """What a request waits for."""

    @property
    def resume_at(self) -> float:
        """When to resume at the latest, by `time.monotonic()`."""

    def listen(self, call: Callable[[], None]) -> None:
        """Have `call` called, by whatever thread and at once if need be, when it is time to resume.
        It must return soon; it may be called more than once."""

    def resume(self, *, is_over: bool) -> Response:
        """The answer; it has to be one if the wait `is_over`. Raises Deferred and what a view
        raises."""


class Deferred(BaseException):
    """Raised in place of an answer. Not an Exception: nobody between view and server handles it."""

    def __init__(self, later: Later) -> None:
        super().__init__(later)
        self.later = later
        self.carried: dict[str, object] = {}
        """Set by the server."""
