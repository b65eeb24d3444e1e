"""One input on its way: it is submitted, its job waited for, its predictions written."""

from dataclasses import dataclass

from rowmill.client import Client
from rowmill.errors import JobFailedError
from rowmill.formats import Format
from rowmill.jobs import Job
from rowmill.polling import OnProgress
from rowmill.streams import input_of, write_to
from rowmill.submission import SubmitOptions
from rowmill.uploads import OnSent


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked for every input of a command."""

    options: SubmitOptions
    input_format: Format | None = None
    """Without it, what each input's name promises."""
    guard_formulas: bool | None = None

    @property
    def is_validation(self) -> bool:
        """Whether nothing is scored, and the rows that would fail are what is written."""
        return bool(self.options.get("validate_only"))


def submitted(client: Client, source: str, order: Order, *, on_sent: OnSent) -> str:
    """The id of the new job of an input, or of stdin."""
    job = client.submit(
        input_of(source), input_format=order.input_format, on_sent=on_sent, **order.options
    )
    return job.id


def awaited(client: Client, job_id: str, order: Order, *, on_progress: OnProgress) -> Job:
    """The job in its end state; one whose rows were only looked at may have none that is good."""
    try:
        return client.wait(job_id, on_progress=on_progress)
    except JobFailedError as error:
        if not order.is_validation or not error.job.failed:
            raise
        return error.job


def write_outcome(
    client: Client, job_id: str, order: Order, *, target: str, format: Format
) -> None:
    """Writes the predictions, or the row errors if nothing was to be scored."""
    read = client.errors if order.is_validation else client.results
    write_to(read(job_id, format, guard_formulas=order.guard_formulas), target)
