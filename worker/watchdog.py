"""A time limit that holds whatever the code within it does."""

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager

STANDARD_ERROR = 2


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End this process, with its tracebacks on standard error, if the block takes longer.

    The clock is watched by a thread in C that needs no interpreter lock, so that a library which
    hangs while it holds the lock is stopped, too. One limit at a time.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=STANDARD_ERROR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
