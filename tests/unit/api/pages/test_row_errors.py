"""A row as it was sent, with the cell that is to blame."""

import pytest

from api.pages.row_errors import CONTEXT_CHARS, FailedRow, failed_rows
from shared.chunks import RejectedRows
from shared.jobs import InputFormat
from tests.factories import make_result
from tests.job_steps import JobSteps


def found(steps: JobSteps, errors: str, records: str, **spec: object) -> tuple[FailedRow, ...]:
    """The table of a job whose rows 3 and 5 failed."""
    job_id = steps.submit(**{"header": ("a", "b"), **spec})
    rejected = RejectedRows(rows=(3, 5), lines=(4, 8), records=records.encode())
    result = make_result(succeeded=8, failed=2, errors=errors.encode(), rejected=rejected)
    steps.leases.commit(steps.leased(), result)
    return failed_rows(steps.store.get(job_id), steps.store)


def parts(row: FailedRow) -> tuple[str, str | None, str]:
    assert row.record is not None
    return row.record.before, row.record.marked, row.record.after


ERRORS = "3,4,b,not_a_number,No number.\n5,8,,wrong_field_count,Too many.\n"


@pytest.mark.parametrize(
    ("records", "delimiter", "expected"),
    [
        ("1,x\n1,2,3\n", ",", [("1,", "x", ""), ("", None, "1,2,3")]),
        ('"1,5",x\n"1\n2"\n', ",", [('"1,5",', "x", ""), ("", None, '"1\n2"')]),
        ("1;\n1;2;3", ";", [("1;", "", ""), ("", None, "1;2;3")]),
        ("é,ü\nx\n", ",", [("é,", "ü", ""), ("", None, "x")]),
    ],
)
def test_the_cell_that_an_error_is_about_is_marked(
    steps: JobSteps, records: str, delimiter: str, expected: list[tuple[str, str | None, str]]
) -> None:
    rows = found(steps, ERRORS, records, delimiter=delimiter)

    assert [parts(row) for row in rows] == expected
    assert (rows[0].error.line, rows[0].error.message) == (4, "No number.")


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ('{"a": 1, "b": "x, y"}', ('{"a": 1, "b": ', '"x, y"', "}")),
        ('{ "é":[1,{"b":2}] , "b" : null }', ('{ "é":[1,{"b":2}] , "b" : ', "null", " }")),
        ('{"a": 1}', ("", None, '{"a": 1}')),
        ("{}", ("", None, "{}")),
        ('{"a": 1 "b": 2}', ("", None, '{"a": 1 "b": 2}')),
        ('{"a": 1', ("", None, '{"a": 1')),
        ("[1, 2]", ("", None, "[1, 2]")),
        ("no", ("", None, "no")),
        (f'{{"a": {"[" * 100_000}', ("", None, f'{{"a": {"[" * (CONTEXT_CHARS - 6)}…')),
    ],
)
def test_in_a_record_of_json_the_value_is_marked(
    steps: JobSteps, record: str, expected: tuple[str, str | None, str]
) -> None:
    errors = "3,4,b,not_a_number,No number.\n"

    rows = found(steps, errors, f"{record}\n", delimiter="", input_format=InputFormat.NDJSON)

    assert parts(rows[0]) == expected


def test_a_row_with_two_errors_is_shown_with_each(steps: JobSteps) -> None:
    errors = "3,4,a,not_a_number,No number.\n3,4,b,not_a_number,No number.\n"

    rows = found(steps, errors, "x,y\nz,1\n")

    assert [parts(row) for row in rows] == [("", "x", ",y"), ("x,", "y", "")]


def test_long_records_are_shown_around_the_cell(steps: JobSteps) -> None:
    cell = "y" * 1000

    first, second = found(steps, ERRORS, f"{'x' * 1000},{cell}\n{cell}\n")

    before, marked, after = parts(first)
    assert before == f"…{'x' * (CONTEXT_CHARS - 1)},"
    assert marked == f"{'y' * CONTEXT_CHARS}…"
    assert after == ""
    assert parts(second)[2] == f"{'y' * CONTEXT_CHARS}…"


def test_a_row_that_is_not_there_has_no_record(steps: JobSteps) -> None:
    rows = found(steps, "9,10,a,not_a_number,No number.\n", "1,x\n")

    assert rows[0].record is None


def test_only_the_first_errors_are_read(steps: JobSteps) -> None:
    errors = "".join(f"{row},{row},a,missing_value,No value.\n" for row in range(1, 100))

    assert len(found(steps, errors, "1,x\n")) == 50


def test_a_job_without_failed_rows_has_no_table(steps: JobSteps) -> None:
    job_id = steps.submit()
    steps.run()

    assert failed_rows(steps.store.get(job_id), steps.store) == ()
