"""What a server does, as one picture for a terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rowmill.jobs import Job
from rowmill.service import Lane, Service
from rowmill.tables import counted, duration_text

BAR_CELLS = 20


def overview(service: Service, jobs: Sequence[Job]) -> RenderableType:
    """Queue, workers and the jobs that have not ended, each under a heading."""
    return Group(
        _facts(service),
        Text(),
        _workers(service),
        Text(),
        _jobs(jobs, of=sum(service.jobs.values())),
    )


def trouble(last: RenderableType, message: str) -> RenderableType:
    """The last picture below a line that says why there is no newer one."""
    return Group(Text(message, style="bold red"), Text(), last)


def _facts(service: Service) -> Table:
    oldest = service.oldest_waiting_seconds
    speed = service.rows_per_second
    memory = decimal(service.used_bytes)
    if service.max_bytes:
        memory += f" of {decimal(service.max_bytes)}"
    states = ", ".join(f"{count:,} {name}" for name, count in service.jobs.items() if count)
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("Jobs", states or "none"),
        ("Small", _lane(service.small)),
        ("Bulk", _lane(service.bulk)),
        ("Rows", f"{service.waiting_rows:,} of at most {service.max_waiting_rows:,} wait"),
        ("Speed", "unknown" if speed is None else f"{speed:,.0f} rows/s"),
        ("Oldest", "none waits" if oldest is None else f"waits for {duration_text(oldest)}"),
        ("Redis", memory),
    ):
        facts.add_row(Text(name, style="bold"), Text(value))
    return facts


def _lane(lane: Lane) -> str:
    return f"{counted(lane.jobs, 'job')} queued, {counted(lane.running_chunks, 'chunk')} running"


def _workers(service: Service) -> RenderableType:
    if not service.workers:
        return Text("No worker: start one, jobs wait until then.", style="bold red")
    table = _table("WORKER", "BUSY", "HEARD")
    for worker in service.workers:
        heard = f"{duration_text(worker.last_heard_seconds)} ago"
        table.add_row(
            Text(worker.name),
            f"{worker.busy}/{worker.processes}",
            heard if worker.is_live else Text(f"{heard}: lost", style="bold red"),
        )
    return table


def _jobs(jobs: Sequence[Job], *, of: int) -> RenderableType:
    if not jobs:
        return Text("No job is waiting or running.")
    table = _table("JOB", "STATUS", "MODEL", "DONE", "ROWS", "ROWS/S", "LEFT")
    for job in jobs:
        table.add_row(
            job.id,
            job.status,
            Text(job.model),
            ProgressBar(total=1.0, completed=job.ratio, width=BAR_CELLS),
            f"{job.rows_done:,}/{job.total:,}",
            f"{job.rows_per_second:,.0f}" if job.rows_per_second else "",
            "" if job.eta_seconds is None else duration_text(job.eta_seconds),
        )
    if of <= len(jobs):
        return table
    return Group(table, Text(f"… {len(jobs):,} of {of:,}; 'rowmill jobs' lists all."))


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=True, overflow="fold")
    return table
