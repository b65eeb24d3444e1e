"""The auditor's eye: what it must not overlook."""

import pytest

from tests.chaos.jobs import BAD, ChaosJob
from tests.chaos.outcome import Outcome, compare_errors, compare_results
from tests.chaos.report import Report
from tests.chaos.watcher import sample_complaints
from tests.scaling import make_jobs

JOB = ChaosJob(number=0, rows=3, key="k", faults={2: BAD})
RIGHT = "row,prediction,error\n1,10010,\n2,,not_a_number\n3,10030,\n"


def test_right_results_are_right() -> None:
    assert compare_results(JOB, RIGHT) == Outcome(right=3)


@pytest.mark.parametrize(
    ("results", "wrong", "lost", "duplicated", "misplaced"),
    [
        (RIGHT.replace("10010", "10020"), 1, 0, 0, 0),
        (RIGHT.replace("not_a_number", ""), 1, 0, 0, 0),
        (RIGHT.replace("not_a_number", "row_crashed_worker"), 1, 0, 0, 0),
        (RIGHT.replace("3,10030,\n", ""), 0, 1, 0, 0),
        (RIGHT + "3,10030,\n", 0, 0, 1, 0),
        (RIGHT + "4,10040,\n", 0, 0, 0, 1),
        (RIGHT + "3,100", 0, 0, 0, 1),
        ("row,prediction,error\n2,,not_a_number\n1,10010,\n3,10030,\n", 0, 0, 0, 1),
    ],
)
def test_every_kind_of_wrong_results_is_counted(
    results: str, wrong: int, lost: int, duplicated: int, misplaced: int
) -> None:
    outcome = compare_results(JOB, results)

    found = (outcome.wrong, outcome.lost, outcome.duplicated, outcome.misplaced)
    assert found == (wrong, lost, duplicated, misplaced)


def test_row_errors_must_match_row_line_and_code() -> None:
    header = "row,line,column,code,message\n"

    assert not compare_errors(JOB, header + "2,3,x,not_a_number,m\n")
    assert compare_errors(JOB, header + "2,2,x,not_a_number,m\n")
    assert compare_errors(JOB, header)


def test_counts_must_add_up_and_never_go_backwards() -> None:
    before = _document(succeeded=2, pending=1)

    assert not sample_complaints(before, _document(succeeded=3, pending=0), rows=3)
    assert sample_complaints(before, _document(succeeded=1, pending=2), rows=3)
    assert sample_complaints(None, _document(succeeded=2, pending=0), rows=3)
    assert sample_complaints(None, _document(succeeded=2, pending=1), rows=4)


def test_a_run_says_something_only_if_jobs_were_accepted_and_things_broken() -> None:
    def problems(accepted_jobs: int, right: int, actions: int) -> list[str]:
        report = Report(seed=1, jobs=[JOB, JOB], accepted_jobs=accepted_jobs, accepted_rows=3)
        report.actions["kill_redis"] += actions
        report.audit.rows.right = right
        return report.problems()

    assert not problems(accepted_jobs=1, right=3, actions=1)
    assert problems(accepted_jobs=0, right=3, actions=1)
    assert problems(accepted_jobs=1, right=2, actions=1)
    assert problems(accepted_jobs=1, right=3, actions=0)


def _document(*, succeeded: int, pending: int) -> dict[str, dict[str, int]]:
    counts = {"total": 3, "succeeded": succeeded, "failed": 0, "pending": pending}
    return {"counts": counts, "progress": {"chunks_done": 0}}


def test_jobs_sent_while_somebody_scales_expect_their_own_rows_up_to_rounding() -> None:
    large, small = make_jobs(rows=5, small_jobs=1, seconds=0)

    def results(body: bytes) -> str:
        cells = [int(line) for line in body.split()[1:]]
        rows = [f"{row},{(2 * cell + 3) * (1 + 1e-15)!r},\n" for row, cell in enumerate(cells, 1)]
        return "row,prediction,error\n" + "".join(rows)

    assert compare_results(large, results(large.body())) == Outcome(right=5)
    assert compare_results(small, results(large.body())).wrong == 5
