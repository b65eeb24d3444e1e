"""What a job's page says besides what its results show."""

from typing import Any

import pytest

from api.pages.findings import Findings
from api.pages.jobs import ADVICE, JobListPage, JobPage
from api.pages.samples import FirstRows
from api.query import JobListQuery
from shared.jobs import Job, JobErrorCode, JobStatus
from shared.signature import Dtype, OutputColumn
from tests.factories import make_spec

OLD = f"job_{'0' * 32}"


def make_job(**changes: Any) -> Job:
    """A job of 100 rows that began a second before it was looked at."""
    defaults: dict[str, Any] = {
        "id": OLD,
        "spec": make_spec(),
        "status": JobStatus.RUNNING,
        "total": 100,
        "succeeded": 0,
        "failed": 0,
        "chunks_total": 10,
        "chunks_done": 0,
        "created_at_ms": 0,
        "started_at_ms": 1000,
        "expires_at_ms": 10**6,
        "read_at_ms": 2000,
    }
    return Job(**defaults | changes)


def make_findings(job: Job, *rows: list[str]) -> Findings:
    first = FirstRows.of(job.spec.result_columns, list(rows))
    return Findings(
        job=job, first_rows=first, plots=(), training_rows=0, failed_rows=(), workers={}
    )


def page(**job: Any) -> JobPage:
    made = make_job(**job)
    return JobPage(job=made, strip=None, findings=make_findings(made), warnings=(), features=())


def test_there_is_advice_about_every_error_of_a_job() -> None:
    assert set(ADVICE) == set(JobErrorCode)
    assert page(error_code="upload_incomplete").advice == "Send the file again."
    assert page().advice == ""


def test_only_a_few_steps_are_announced() -> None:
    said = {page(succeeded=done).announcement for done in range(100)}

    assert len(said) == 4
    assert "The job is running; 75 % of its rows are done." in said


def test_an_end_is_announced() -> None:
    ended = page(status=JobStatus.PARTIALLY_SUCCEEDED, succeeded=99, failed=1)

    assert ended.announcement == "The job is partially succeeded."


@pytest.mark.parametrize(
    ("seconds_left", "poll_seconds"), [(0.5, 1), (50, 1), (240, 4), (10_000, 10)]
)
def test_a_job_that_takes_long_is_looked_at_less_often(
    seconds_left: float, poll_seconds: int
) -> None:
    rows = round(seconds_left * 10) + 10

    assert page(succeeded=10, total=rows).poll_seconds == poll_seconds


def test_findings_of_a_running_job_are_kept_for_a_while_and_of_an_ended_one_for_good() -> None:
    running, further = make_job(chunks_done=1), make_job(chunks_done=2)
    ended = make_job(chunks_done=10, status=JobStatus.SUCCEEDED)

    assert make_findings(running, ["1"]).are_enough_for(further)
    assert make_findings(running).are_enough_for(further)
    assert not make_findings(make_job()).are_enough_for(running)
    assert make_findings(running).are_enough_for(running)
    assert not make_findings(running, ["1"]).are_enough_for(ended)
    assert make_findings(ended).are_enough_for(ended)


def test_a_list_keeps_its_filters_from_page_to_page() -> None:
    query = JobListQuery(status=JobStatus.RUNNING, model="a b", after=f"job_{'1' * 32}")
    shown = JobListPage(jobs=[make_job()], query=query, models=[], has_more=True)

    assert shown.is_live
    assert shown.first_url == "/ui/jobs?status=running&model=a+b"
    assert shown.next_url == f"/ui/jobs?status=running&model=a+b&after={OLD}"


def test_a_list_keeps_its_length_from_page_to_page() -> None:
    shown = JobListPage(jobs=[], query=JobListQuery(limit=5), models=[], has_more=False)

    assert not shown.is_live
    assert shown.url == "/ui/jobs?limit=5"


def test_of_results_with_many_columns_some_are_shown() -> None:
    columns = make_spec().result_columns * 40
    good, bad = [*["1"] * 39, ""], [*["1"] * 39, "code"]

    assert len(FirstRows.of(columns, [good]).columns) == 30
    assert FirstRows.of(columns, [good]).left_out == 9
    assert FirstRows.of(columns, [good, bad]).rows[1][-1] == "code"
    assert FirstRows.of(columns[:2], [["1", ""]]).rows == (("1",),)


def test_predictions_are_shown_before_what_is_carried_however_much_that_is() -> None:
    names = ["row", *(f"carried_{number}" for number in range(50)), "prediction", "error"]
    columns = tuple(OutputColumn(name=name, dtype=Dtype.STRING) for name in names)

    good = FirstRows.of(columns, [["", *names[1:-1], ""]], carried_columns=50)
    bad = FirstRows.of(columns, [names], carried_columns=50)

    assert [column.name for column in good.columns[:3]] == ["row", "prediction", "carried_0"]
    assert good.rows[0][:3] == ("", "prediction", "carried_0")
    assert [column.name for column in bad.columns[:3]] == ["row", "prediction", "error"]
    assert good.left_out == bad.left_out == 22
