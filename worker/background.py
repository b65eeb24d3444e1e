"""A thread that others come before: bulk work on cores that it shares."""

import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Background:
    """Runs calls one after the other in a thread of its own.

    Linux keeps a niceness for each thread (setpriority(2)), and only a privileged one could lower
    its own again. So a process that scores bulk chunks behind everything else needs a second thread
    to stay quick with small jobs.
    """

    def __init__(self, *, niceness: int, prepare: Callable[[], object] = bool) -> None:
        """`niceness`: how far the thread stands back behind this one. `prepare` is called in it
        first."""
        niceness += os.getpriority(os.PRIO_PROCESS, 0)

        def begin() -> None:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
            prepare()

        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bulk", initializer=begin)

    def run(
        self, call: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Call, with the context of who calls, and wait. Returns and raises what the call does."""
        context = contextvars.copy_context()
        return self._thread.submit(lambda: context.run(call, *args, **kwargs)).result()
