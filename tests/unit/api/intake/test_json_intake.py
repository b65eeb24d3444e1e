"""What is read of JSON before its rows are, and how much of it is held."""

import json
import tracemalloc

import pytest

from api.intake import json_tables
from api.intake.bodies import Body
from api.intake.csv_intake import Limits
from api.intake.json_intake import JsonIntake, JsonLinesIntake
from shared.errors import JsonError
from shared.jobs import InputFormat

LIMITS = Limits(chunk_bytes=10**6, record_bytes=10**6)


def json_intake(table: object) -> JsonIntake:
    body = Body(iter([json.dumps(table).encode()]), InputFormat.JSON)
    return JsonIntake(body, limits=LIMITS, features=["x"], max_json_bytes=10**9)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_key_that_no_header_can_hold_is_refused(name: str) -> None:
    line = json.dumps({"x": 6, name: 1}).encode()
    intake = JsonLinesIntake(Body(iter([line]), InputFormat.NDJSON), limits=LIMITS)

    with pytest.raises(JsonError, match="Key"):
        intake.header(max_columns=9)


def test_what_is_still_to_come_is_told_by_the_length_of_the_text() -> None:
    rows = 100_000
    intake = json_intake([{"x": number} for number in range(10**6, 10**6 + rows)])
    intake.header(max_columns=9)

    chunks = intake.chunks(lambda: 1000)
    first, data = next(chunks)
    expected = (len(data) + intake.bytes_to_come) * first.rows / len(data)
    later = [plan for plan, _ in chunks]

    assert expected == pytest.approx(rows, rel=0.2)
    assert first.rows + sum(plan.rows for plan in later) == rows
    assert intake.bytes_to_come == 0


@pytest.mark.parametrize("wrapper", ["dataframe_split", "dataframe_records", "instances"])
def test_of_a_list_one_row_is_made_at_a_time(wrapper: str) -> None:
    records = [{"x": number, "y": number} for number in range(1000, 17_000)]
    split = {"columns": ["x", "y"], "data": [list(record.values()) for record in records]}
    text = json.dumps({wrapper: split if wrapper == "dataframe_split" else records})

    tracemalloc.start()
    size_bytes = sum(map(len, json_tables.blocks(text, ["x", "y"])))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size_bytes > len(text) / 2
    assert peak_bytes < 8 * json_tables.BLOCK_CHARS
