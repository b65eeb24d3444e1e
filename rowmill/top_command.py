"""`rowmill top`: queue, workers and running jobs of a server, drawn again and again."""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console, RenderableType
from rich.live import Live

from rowmill.client import Client
from rowmill.errors import RowmillError
from rowmill.failures import one_line
from rowmill.jobs import Job
from rowmill.options import json_option, show
from rowmill.overview import overview, trouble
from rowmill.service import Service

ACTIVE_STATUSES = ("running", "receiving", "queued")

MAX_JOBS = 20
"""Of each status; a terminal has no room for more."""

QUIT_KEYS = (b"q", b"Q", b"\x04", b"")
"""Ctrl-D is one, and so is the end of the terminal."""


@click.command()
@click.option("--once", is_flag=True, help="Print one view and end.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks.",
)
@json_option
@click.pass_obj
def top(client: Client, *, once: bool, interval: float, is_json: bool) -> None:
    """Watch the queue, the workers and the jobs that have not ended; 'q' quits.

    Prints one view where stdout is no terminal, or with --json.
    """
    console = Console()
    service, jobs = _look(client)
    if is_json:
        document = {"status": service.document, "jobs": [job.document for job in jobs]}
        show(document, "", is_json=True)
    elif once or not console.is_terminal:
        console.print(overview(service, jobs), end="")
    else:
        _watch(client, console, interval, first=overview(service, jobs))


def _look(client: Client) -> tuple[Service, list[Job]]:
    service = client.service()
    jobs = [
        job
        for status in ACTIVE_STATUSES
        if service.jobs.get(status)
        for job in client.jobs(status=status, limit=MAX_JOBS).jobs
    ]
    return service, jobs


def _watch(client: Client, console: Console, interval: float, *, first: RenderableType) -> None:
    view = first
    try:
        with _keys() as quits, Live(view, console=console, screen=True, auto_refresh=False) as live:
            while not quits(interval):
                try:
                    view = overview(*_look(client))
                except RowmillError as error:
                    # Who watches wants to see the server come back, too.
                    live.update(trouble(view, one_line(error)), refresh=True)
                else:
                    live.update(view, refresh=True)
    except KeyboardInterrupt:
        return


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Gives a function that waits so many seconds and says whether somebody wants to quit."""
    if not sys.stdin.isatty():
        yield _sleep
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield _is_quit_within
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _is_quit_within(seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([sys.stdin], [], [], left)
        if readable and os.read(sys.stdin.fileno(), 1) in QUIT_KEYS:
            return True
    return False
