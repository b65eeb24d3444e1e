"""Progress for people: a bar on a terminal, one in a notebook, or a function of the caller's."""

import html
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from rowmill.jobs import Job
from rowmill.polling import OnProgress


@contextmanager
def watched(progress: bool | OnProgress) -> Iterator[OnProgress]:
    """What is to be told of every sighting of a job."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda _job: None
    elif _is_notebook():
        yield NotebookBar().seen
    else:
        from rowmill.progress_bar import ProgressBar

        with ProgressBar() as bar:
            yield bar.track().seen


class NotebookBar:
    """A bar in the output of a notebook's cell. The one of rich needs ipywidgets there."""

    def __init__(self) -> None:
        self._shown: Any = None  # IPython is not typed

    def seen(self, job: Job) -> None:
        """Shows how far the job is."""
        text = f"{job.status}  {job.rows_done:,}/{job.total:,} rows"
        bar = f'<progress max="1" value="{job.ratio:.4f}"></progress> {html.escape(text)}'
        content = {"text/plain": text, "text/html": bar}
        if self._shown is None:
            ipython: Any = import_module("IPython.display")
            self._shown = ipython.display(content, raw=True, display_id=True)
        else:
            self._shown.update(content, raw=True)


def _is_notebook() -> bool:
    """Whether this process is a notebook's kernel; IPython is asked only where it is loaded."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"
