"""Results as Arrow and Parquet: values and types, memory, and what may be missing."""

import base64
import csv
import io
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import columnar_results
from api.columnar_results import arrow_stream, parquet_file
from api.result_formats import Layout, ResultFormat, rendered
from shared.chunks import RowError
from shared.signature import Dtype, OutputColumn
from tests.factories import make_plan
from worker.rendering import result_lines

COLUMNS = (
    OutputColumn(name="row", dtype=Dtype.INT),
    OutputColumn(name="key", dtype=Dtype.STRING),
    OutputColumn(name="score", dtype=Dtype.FLOAT),
    OutputColumn(name="good", dtype=Dtype.BOOL),
    OutputColumn(name="error", dtype=Dtype.STRING),
)
FORMATS = [ResultFormat.ARROW, ResultFormat.PARQUET]
INDEX = pa.int32()


def serialized(*types: pa.DataType) -> str:
    """As a job's specification has the types of its carried columns."""
    schema = pa.schema([(f"c{number}", wanted) for number, wanted in enumerate(types)])
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def table(
    wanted: ResultFormat,
    texts: Iterable[bytes],
    *,
    columns: tuple[OutputColumn, ...] = COLUMNS,
    carried_types: str = "",
) -> pa.Table:
    """What a client reads."""
    layout = Layout(columns=columns, carried_types=carried_types)
    body = b"".join(rendered(layout, iter(texts), wanted))
    if wanted is ResultFormat.ARROW:
        return pa.ipc.open_stream(body).read_all()
    return pa.parquet.read_table(io.BytesIO(body))


def carrying(count: int) -> tuple[OutputColumn, ...]:
    """Columns of results that carry so many of the input."""
    carried = [OutputColumn(name=f"c{n}_input", dtype=Dtype.STRING) for n in range(count)]
    return (COLUMNS[0], *carried, *COLUMNS[2:])


def lines(cells: Iterable[Any]) -> bytes:
    """A result line for each cell of a carried column."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [row, cell, 0.5, "true", ""] for row, cell in enumerate(cells, start=1)
    )
    return text.getvalue().encode()


# --- values


@pytest.mark.parametrize("wanted", FORMATS)
def test_columns_have_the_types_of_what_they_hold(wanted: ResultFormat) -> None:
    found = table(wanted, [b"1,a,0.5,true,\n2,b,,,bad\n", b"3,c,1,false,\n"])

    assert found.schema == pa.schema(
        {
            "row": pa.int64(),
            "key": pa.string(),
            "score": pa.float64(),
            "good": pa.bool_(),
            "error": pa.string(),
        }
    )
    assert found.to_pydict() == {
        "row": [1, 2, 3],
        "key": ["a", "b", "c"],
        "score": [0.5, None, 1.0],
        "good": [True, None, False],
        "error": [None, "bad", None],
    }


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("texts", [[], [b""]])
def test_a_table_without_rows_has_its_columns(wanted: ResultFormat, texts: list[bytes]) -> None:
    found = table(wanted, texts)

    assert (found.num_rows, found.column_names) == (0, [column.name for column in COLUMNS])


@pytest.mark.parametrize("wanted", FORMATS)
def test_floats_that_are_no_numbers_are_kept(wanted: ResultFormat) -> None:
    found = table(wanted, [b"1,,nan,,\n2,,inf,,\n3,,-inf,,\n4,,-nan,,\n"])

    assert [str(value) for value in found["score"].to_pylist()] == ["nan", "inf", "-inf", "nan"]


@pytest.mark.parametrize("wanted", FORMATS)
def test_only_what_is_empty_is_null(wanted: ResultFormat) -> None:
    found = table(wanted, [b'1,NA,,,null\n2,"",,,""\n3,,,,\n4,nan,,,NaN\n5, ,,,#N/A\n'])

    assert found["key"].to_pylist() == ["NA", None, None, "nan", " "]
    assert found["error"].to_pylist() == ["null", None, None, "NaN", "#N/A"]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
SCORES = st.tuples(st.floats(), st.integers(-(2**63), 2**63 - 1), st.booleans(), TEXT)
CHUNKS = st.lists(st.lists(st.tuples(TEXT, st.none() | SCORES), min_size=1, max_size=9), max_size=3)
OUTPUTS = tuple(OutputColumn(name=f"output_{dtype}", dtype=dtype) for dtype in Dtype)


def as_workers_write(chunk: list[tuple[str, tuple[Any, ...] | None]]) -> bytes:
    """Lines of a carried text and, for good rows, a prediction of each type."""
    good = [position for position, (_, scores) in enumerate(chunk) if scores]
    scores = [scores for _, scores in chunk if scores]
    types = (np.float64, np.int64, np.bool_, object)
    return result_lines(
        make_plan(rows=len(chunk)),
        carried=pd.DataFrame({"key": [key for key, _ in chunk]}),
        outputs=OUTPUTS,
        predictions=[
            np.array([row[i] for row in scores], dtype=dtype) for i, dtype in enumerate(types)
        ],
        positions=np.array(good, dtype=np.int64),
        errors=[
            RowError(row=position + 1, line=1, column="", code="bad", message="")
            for position in range(len(chunk))
            if position not in good
        ],
    )


@settings(max_examples=200)
@given(st.sampled_from(FORMATS), CHUNKS)
def test_what_workers_write_is_read_as_what_they_meant(
    wanted: ResultFormat, chunks: list[list[tuple[str, tuple[Any, ...] | None]]]
) -> None:
    columns = (*COLUMNS[:2], *OUTPUTS, COLUMNS[-1])

    found = table(wanted, map(as_workers_write, chunks), columns=columns)

    assert list(map(repr, zip(*found.to_pydict().values(), strict=True))) == [
        repr((row, key or None, *(expected(scores) or (None,) * 4), None if scores else "bad"))
        for chunk in chunks
        for row, (key, scores) in enumerate(chunk, start=1)
    ]


def expected(scores: tuple[Any, ...] | None) -> tuple[Any, ...]:
    return (*scores[:3], scores[3] or None) if scores else ()


# --- types of carried columns

EAST = timezone(timedelta(hours=2))
MOMENT = datetime.fromisoformat("2026-01-02T03:04:05.678901")
VALUES: list[tuple[pa.DataType, str, Any]] = [
    (pa.int8(), "-128", -128),
    (pa.uint64(), str(2**64 - 1), 2**64 - 1),
    (pa.float32(), "0.1", pa.scalar(0.1, pa.float32()).as_py()),
    (pa.float16(), "1.5", 1.5),
    (pa.bool_(), "false", False),
    (pa.decimal128(10, 2), "12.30", Decimal("12.30")),
    (pa.date32(), "2026-01-02", date(2026, 1, 2)),
    (pa.timestamp("us"), "2026-01-02 03:04:05.678901", MOMENT),
    (pa.timestamp("ms", "UTC"), "2026-01-02 03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    (
        pa.timestamp("us", "+02:00"),
        "2026-01-02 03:04:05.678901+0200",
        MOMENT.replace(tzinfo=EAST),
    ),
    (pa.time64("us"), "03:04:05.678901", time(3, 4, 5, 678901)),
    (pa.time32("ms"), "03:04:05.678", time(3, 4, 5, 678000)),
    (pa.duration("us"), "1500", timedelta(milliseconds=1.5)),
    (pa.dictionary(INDEX, pa.string()), "red", "red"),
    (pa.large_string(), "NA", "NA"),
    (pa.string_view(), "NA", "NA"),
    (pa.binary(), "NA", b"NA"),
    (pa.binary(2), "NA", b"NA"),
    (pa.large_binary(), "NA", b"NA"),
    (pa.binary_view(), "NA", b"NA"),
    (pa.decimal256(50, 2), "12.30", Decimal("12.30")),
    (pa.decimal32(5, 1), "12.3", Decimal("12.3")),
    (pa.dictionary(INDEX, pa.timestamp("us")), "2026-01-02 03:04:05.678901", MOMENT),
    (pa.dictionary(INDEX, pa.int64()), "7", 7),
    (pa.timestamp("s"), "2026-01-02 03:04:05", datetime.fromisoformat("2026-01-02T03:04:05")),
    (pa.date64(), "2026-01-02", date(2026, 1, 2)),
]


def is_textual(kind: pa.DataType) -> bool:
    """Whether every text is a value of it."""
    return any(word in str(kind) for word in ("string", "binary")) and kind != pa.binary(2)


def kept(kind: pa.DataType, wanted: ResultFormat) -> pa.DataType:
    """The type itself; in Parquet, which has no whole seconds for one, what it makes of it."""
    if wanted is ResultFormat.ARROW:
        return kind
    file = io.BytesIO()
    pa.parquet.write_table(pa.table({"c0": pa.nulls(1, kind)}), file)
    return pa.parquet.read_schema(file).types[0]


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize(("kind", "text", "value"), VALUES, ids=lambda value: str(value)[:40])
def test_a_carried_column_gets_its_type_back(
    wanted: ResultFormat, kind: pa.DataType, text: str, value: Any
) -> None:
    found = table(
        wanted, [lines([text, "", text])], columns=carrying(1), carried_types=serialized(kind)
    )

    assert found.schema.field("c0_input").type == kept(kind, wanted)
    assert found["c0_input"].to_pylist() == [value, None, value]


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("kind", [kind for kind, _, _ in VALUES if not is_textual(kind)], ids=str)
def test_what_is_no_value_of_its_type_is_null_and_costs_no_neighbour(
    wanted: ResultFormat, kind: pa.DataType
) -> None:
    good = next(text for other, text, _ in VALUES if other == kind)
    cells = [good, "broken", good, good, "", "12,5", good]

    found = table(wanted, [lines(cells)], columns=carrying(1), carried_types=serialized(kind))[
        "c0_input"
    ]

    assert [value is not None for value in found.to_pylist()] == [cell == good for cell in cells]


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize(
    "kind", [pa.null(), pa.list_(pa.int8()), pa.month_day_nano_interval(), pa.uuid()]
)
def test_a_type_that_no_text_is_read_as_stays_text(wanted: ResultFormat, kind: pa.DataType) -> None:
    found = table(
        wanted, [lines(["[1]", ""])], columns=carrying(1), carried_types=serialized(kind)
    )["c0_input"]

    assert (found.type, found.to_pylist()) == (pa.string(), ["[1]", None])


@pytest.mark.parametrize("wanted", FORMATS)
def test_categories_of_all_chunks_are_one_column_to_pandas(wanted: ResultFormat) -> None:
    kind = pa.dictionary(pa.int8(), pa.large_string())
    texts = [lines(["red", "blue"]), lines(["green", "red"])]

    found = table(wanted, texts, columns=carrying(1), carried_types=serialized(kind)).to_pandas()

    assert isinstance(found["c0_input"].dtype, pd.CategoricalDtype)
    assert found["c0_input"].tolist() == ["red", "blue", "green", "red"]


@pytest.mark.parametrize("wanted", [ResultFormat.NDJSON, ResultFormat.JSON])
def test_json_has_numbers_and_booleans_where_carried_columns_have(wanted: ResultFormat) -> None:
    layout = Layout(
        columns=carrying(4),
        carried_types=serialized(pa.int16(), pa.float32(), pa.bool_(), pa.date32()),
    )
    texts = [b"1,7,0.5,true,2026-01-02,1,true,\n2,x,y,z,?,,,bad\n"]

    body = b"".join(rendered(layout, iter(texts), wanted)).decode()

    assert '"c0_input": 7, "c1_input": 0.5, "c2_input": true, "c3_input": "2026-01-02"' in body
    assert '"c0_input": null, "c1_input": null, "c2_input": null, "c3_input": "?"' in body


# --- streaming


def test_every_chunk_is_a_record_batch_that_is_sent_at_once() -> None:
    asked = 0

    def texts() -> Iterator[bytes]:
        nonlocal asked
        for asked in range(1, 4):
            yield b"%d,a,0.5,true,\n" % asked

    pieces = arrow_stream(COLUMNS, texts())

    begun = next(pieces) + next(pieces)
    assert asked == 1
    assert pa.ipc.open_stream(begun).read_next_batch().num_rows == 1
    rest = pa.ipc.open_stream(begun + b"".join(pieces))
    assert [batch.num_rows for batch in rest] == [1, 1, 1]


def test_small_chunks_are_gathered_into_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columnar_results, "ROW_GROUP_ROWS", 10)

    body = b"".join(parquet_file(COLUMNS, iter([b"1,a,0.5,true,\n" * 4] * 7)))

    metadata = pa.parquet.read_metadata(io.BytesIO(body))
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert groups == [12, 12, 4]


def test_long_texts_make_a_row_group_full_before_many_rows_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(columnar_results, "ROW_GROUP_BYTES", 1000)

    body = b"".join(parquet_file(COLUMNS, iter([b"1,%s,0.5,true,\n" % (b"z" * 600)] * 4)))

    assert pa.parquet.read_metadata(io.BytesIO(body)).num_row_groups == 2


@pytest.mark.parametrize("wanted", FORMATS)
def test_memory_stays_flat_however_many_chunks_there_are(wanted: ResultFormat) -> None:
    chunk = b"".join(b"%d,%d,%f,true,\n" % (n, n * 7, n / 3) for n in range(10_000))
    layout = Layout(columns=COLUMNS)

    def peak(chunks: int) -> int:
        """Most bytes that were held at a time, those of pyarrow's own pool included."""
        most = 0
        tracemalloc.start()
        for _ in rendered(layout, (chunk for _ in range(chunks)), wanted):
            most = max(most, pa.total_allocated_bytes())
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most + traced

    few, many = peak(20), peak(100)

    assert many < 1.3 * few


# --- the image of the API

WITHOUT_NUMPY = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numpy", "pandas"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
from api import result_formats, routes
from api.routes import predict, results
from shared.signature import Dtype, OutputColumn
assert "pyarrow" not in sys.modules, "it is imported before it is needed"
columns = (OutputColumn(name="row", dtype=Dtype.INT), OutputColumn(name="c", dtype=Dtype.STRING))
layout = result_formats.Layout(columns=columns, carried_types=sys.argv[1])
for wanted in result_formats.ResultFormat:
    body = b"".join(result_formats.rendered(layout, iter([b"1,2026-01-02\\n2,x\\n"]), wanted))
    print(wanted, len(body))
assert not {"numpy", "pandas"} & sys.modules.keys()
"""


def test_formats_need_neither_numpy_nor_pandas_and_pyarrow_only_when_asked_for() -> None:
    command = (sys.executable, "-W", "error", "-c", WITHOUT_NUMPY, serialized(pa.date32()))

    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(ResultFormat)
