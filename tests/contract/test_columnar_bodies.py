"""Tables as Parquet files and Arrow streams: typed values reach model and results unchanged."""

import datetime as dt
import decimal
import gzip
import hashlib
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.contract.answers import (
    Document,
    accepted,
    assert_problem,
    newer_job,
    newest_job,
    results,
    row_errors,
)
from tests.contract.bodies import GZIP, form, in_pieces
from tests.contract.tables import ARROW, PARQUET, arrow, parquet
from tests.live_stack import Api

Writer = Callable[[pa.Table], bytes]

FORMATS = pytest.mark.parametrize(
    ("write", "headers"),
    [pytest.param(parquet, PARQUET, id="parquet"), pytest.param(arrow, ARROW, id="arrow")],
)

DICTIONARY = pa.array(["a"]).dictionary_encode()
OPAQUE = pa.ExtensionArray.from_storage(pa.opaque(DICTIONARY.type, "type", "vendor"), DICTIONARY)
"""pyarrow ends the process that reads one out of Parquet."""


def carried(api: Api, write: Writer, headers: dict[str, str], column: pa.Array) -> list[str]:
    """What the results say of a column that they repeat."""
    table = pa.table({"x": [1.0] * len(column), "c": column})
    job = accepted(api.submit(write(table), model="line", key="c", headers=headers))
    assert job["status"] == "succeeded"
    return [line["c"] for line in results(api, job)]


@FORMATS
def test_a_row_is_a_row(api: Api, write: Writer, headers: dict[str, str]) -> None:
    body = write(pa.table({"y": ["a", "b"], "x": [6, 7]}))

    job = accepted(api.submit(body, model="line", headers=headers))

    assert job["input"] == {
        "format": "parquet" if headers is PARQUET else "arrow",
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    assert [line["prediction"] for line in results(api, job)] == ["15", "17"]


@FORMATS
@pytest.mark.parametrize(
    ("column", "texts"),
    [
        pytest.param(pa.array([2**63 - 1, -(2**63), None]), None, id="int64"),
        pytest.param(pa.array([2**64 - 1], pa.uint64()), None, id="uint64"),
        pytest.param(pa.array([0.1, 1e300]), None, id="float64"),
        pytest.param(pa.array([0.1], pa.float32()), ["0.1"], id="float32"),
        pytest.param(pa.array([float("nan"), None, 1.5]), ["", "", "1.5"], id="NaN"),
        pytest.param(pa.array([True, False, None]), ["true", "false", ""], id="bool"),
        pytest.param(pa.array(["a", 'b,"\n', None, "", " "]), ["a", 'b,"\n', "", "", " "],
                     id="string"),
        pytest.param(pa.array(["ä"], pa.large_string()), ["ä"], id="large_string"),
        pytest.param(pa.array(["ä"], pa.string_view()), ["ä"], id="string_view"),
        pytest.param(pa.array([b"ab"], pa.binary()), ["ab"], id="binary"),
        pytest.param(pa.array([b"ab"], pa.binary(2)), ["ab"], id="fixed_size_binary"),
        pytest.param(pa.array(["u", None, "v"]).dictionary_encode(), ["u", "", "v"], id="dict"),
        pytest.param(pa.array([decimal.Decimal("1.10")]), ["1.10"], id="decimal"),
        pytest.param(pa.array([dt.date(2024, 2, 29)]), ["2024-02-29"], id="date"),
        pytest.param(pa.array([dt.time(1, 2, 3)]), ["01:02:03.000000"], id="time"),
        pytest.param(pa.array([dt.timedelta(days=1)]), ["86400000000"], id="duration"),
        pytest.param(
            pa.array([1704164400000000], pa.timestamp("us")),
            ["2024-01-02 03:00:00.000000"],
            id="timestamp",
        ),
        pytest.param(
            pa.array([1704164400000], pa.timestamp("ms", "Europe/Berlin")),
            ["2024-01-02 03:00:00.000Z"],
            id="timestamp with a zone",
        ),
        pytest.param(pa.nulls(2), ["", ""], id="null"),
    ],
)  # fmt: skip
def test_values_become_text(
    api: Api,
    write: Writer,
    headers: dict[str, str],
    column: pa.Array,
    texts: list[str] | None,
) -> None:
    found = carried(api, write, headers, column)

    expected = texts or ["" if value is None else f"{value}" for value in column.to_pylist()]
    assert found == expected


def test_runs_become_text(api: Api) -> None:
    runs = pa.RunEndEncodedArray.from_arrays([2, 3], ["a", None])

    assert carried(api, arrow, ARROW, runs) == ["a", "a", ""]


@FORMATS
def test_a_model_sees_the_very_float(api: Api, write: Writer, headers: dict[str, str]) -> None:
    values = np.random.default_rng(0).normal(size=500).astype(np.float32)
    doubles = pd.DataFrame({"x": values.astype(np.float64)}).to_csv(index=False)

    answers = [
        api.predict(write(pa.table({"x": column})), model="line", headers=headers).text
        for column in (pa.array(values), pa.array(values.astype(np.float64)))
    ]

    assert answers == [api.predict(doubles, model="line").text] * 2


@FORMATS
def test_a_row_that_is_wrong_costs_no_other(
    api: Api, write: Writer, headers: dict[str, str]
) -> None:
    table = pa.table({"age": [20, None, 40, 50], "city": ["Bonn", "Kiel", "R\n", "Ulm"],
                      "member": [True, False, True, None]})  # fmt: skip

    job = accepted(api.submit(write(table), model="churn", headers=headers))

    assert [(e["row"], e["line"], e["column"], e["code"]) for e in row_errors(api, job)] == [
        (2, 2, "age", "missing_value"),
        (3, 3, "city", "unknown_category"),
        (4, 4, "member", "missing_value"),
    ]
    retried = accepted(api.post(f"{job['urls']['self']}/retry", json={"only": "failed"},
                                Prefer="wait=20"))  # fmt: skip
    assert [(e["row"], e["line"], e["code"]) for e in row_errors(api, retried)] == [
        (2, 2, "missing_value"),
        (3, 3, "unknown_category"),
        (4, 4, "missing_value"),
    ]


@FORMATS
def test_missing_values_of_a_single_column_are_rows(
    api: Api, write: Writer, headers: dict[str, str]
) -> None:
    body = write(pa.table({"x": [1.0, None, float("nan"), 2.0]}))

    job = accepted(api.submit(body, model="line", headers=headers))

    assert [line["error"] for line in results(api, job)] == [
        "", "missing_value", "missing_value", ""
    ]  # fmt: skip


@FORMATS
def test_a_text_that_is_not_utf8_is_an_error_of_its_row(
    api: Api, write: Writer, headers: dict[str, str]
) -> None:
    texts = pa.array([b"good", b"\xff"]).view(pa.string())

    job = accepted(api.submit(write(pa.table({"x": [1.0, 2.0], "t": texts})), model="line",
                              key="t", headers=headers))  # fmt: skip

    assert [line["error"] for line in results(api, job)] == ["", "invalid_utf8"]


@FORMATS
@pytest.mark.parametrize(
    ("table", "query", "problems"),
    [
        (pa.table({"z": [1]}), {}, [("missing_column", "x")]),
        (pa.table([[1], [2]], names=["x", "x"]), {}, [("duplicate_column", "x")]),
        (pa.table({"x": [1], "z": [1]}), {"strict": "true"}, [("unknown_column", "z")]),
        (pa.table({"x": [1], "z": [[1]]}), {"key": "z"}, [("unsupported_type", "z")]),
        (pa.table({"x": [{"y": 1}]}), {"join": "input"}, [("unsupported_type", "x")]),
        (pa.table({"x": [1], "z": OPAQUE}), {"key": "z"}, [("unsupported_type", "z")]),
    ],
)
def test_a_schema_that_does_not_fit_is_refused(
    api: Api,
    write: Writer,
    headers: dict[str, str],
    table: pa.Table,
    query: dict[str, str],
    problems: list[tuple[str, str]],
) -> None:
    answer = api.submit(write(table), model="line", headers=headers, **query)

    document = assert_problem(answer, 422, "header_mismatch", extra=frozenset({"errors"}))
    assert [(e["code"], e["column"]) for e in document["errors"]] == problems


@FORMATS
def test_columns_that_nobody_needs_may_be_of_any_type(
    api: Api, write: Writer, headers: dict[str, str]
) -> None:
    body = write(pa.table({"l": [[1], [2]], "x": [6, 7], "x.y": [1, 2], "s": [{"x": 1}] * 2}))

    job = accepted(api.submit(body, model="line", headers=headers))

    assert [line["prediction"] for line in results(api, job)] == ["15", "17"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(parquet(pa.table({"x": [6, 7]}), compression="zstd"), {}, id="zstd"),
        pytest.param(gzip.compress(parquet(pa.table({"x": [6, 7]}))), GZIP, id="gzip"),
        pytest.param(parquet(pa.table({"x": [6, 7]}), row_group_size=1), {}, id="groups"),
        pytest.param(parquet(pd.DataFrame({"x": [6, 7]}, index=["a", "b"])), {}, id="index"),
    ],
)
def test_parquet_may_be_written_in_many_ways(
    api: Api, body: bytes, headers: dict[str, str]
) -> None:
    answer = api.predict(body, model="line", headers=PARQUET | headers)

    assert answer.text == "row,prediction,error\n1,15,\n2,17,\n"


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_arrow_may_come_in_pieces(api: Api, compression: str | None) -> None:
    table = pa.table({"x": np.arange(5000) % 7, "c": pa.array(["u"] * 5000).dictionary_encode()})
    body = arrow(table.to_batches(max_chunksize=500), compression=compression)
    pieces = in_pieces(*(body[at : at + 777] for at in range(0, len(body), 777)))

    job = accepted(api.submit(pieces, model="line", key="c", headers=ARROW))  # type: ignore[arg-type]

    found = [line["prediction"] for line in results(api, job)]
    assert found == [str(i % 7 * 2 + 3) for i in range(5000)]


def test_a_file_in_a_form_is_told_by_its_name(api: Api) -> None:
    body = parquet(pa.table({"x": [6]}))
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    head = 'name="file"; filename="data.parquet"\r\nContent-Type: application/octet-stream'

    job = accepted(api.submit(form((head, body)), model="line", headers=headers))

    assert (job["input"]["format"], job["input"]["bytes"]) == ("parquet", len(body))


# --- bodies that are refused

GOOD = pa.table({"x": [1.5, 2.5], "c": ["a", "b"]})


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        pytest.param(b"", PARQUET, 422, "empty_input", id="empty Parquet"),
        pytest.param(b"", ARROW, 422, "empty_input", id="empty Arrow"),
        pytest.param(parquet(GOOD.slice(0, 0)), PARQUET, 422, "empty_input", id="no row"),
        pytest.param(
            arrow([pa.RecordBatch.from_pylist([], GOOD.schema)]), ARROW, 422, "empty_input",
            id="no row in Arrow",
        ),
        pytest.param(b"x\n6\n", PARQUET, 400, "damaged_file", id="CSV as Parquet"),
        pytest.param(b"x\n6\n7\n8\n9\n", ARROW, 400, "damaged_file", id="CSV as Arrow"),
        pytest.param(parquet(GOOD)[:-9], PARQUET, 400, "damaged_file", id="cut Parquet"),
        pytest.param(arrow(GOOD)[:-20], ARROW, 400, "upload_incomplete", id="cut Arrow"),
        pytest.param(parquet(GOOD), ARROW, 400, "damaged_file", id="Parquet as Arrow"),
        pytest.param(arrow(GOOD), PARQUET, 400, "damaged_file", id="Arrow as Parquet"),
        pytest.param(b"ARROW1\0\0" + arrow(GOOD), ARROW, 400, "damaged_file", id="Feather"),
        pytest.param(
            parquet(pa.table({f"c{i}": [1] for i in range(5000)})), PARQUET, 422,
            "too_many_columns", id="wide",
        ),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_and_makes_no_job(
    api: Api, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    before = newest_job(api)

    answer = api.submit(body, model="line", headers=headers)

    assert_problem(answer, status, code)
    assert newer_job(api, before) is None


def bomb(rows: int) -> Document:
    """Bodies of a few bytes with so many rows, or so long texts, by name."""
    long = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(rows, np.int8)), pa.array(["a" * 1_000_000])
    )
    table = pa.table({"x": pa.array(np.zeros(rows)), "c": long})
    runs = pa.RunEndEncodedArray.from_arrays([2**31 - 1], [1.0])
    return {
        "parquet": parquet(table, compression="zstd"),
        "arrow": arrow(table, compression="zstd"),
        "runs": arrow([pa.RecordBatch.from_arrays([runs], names=["x"])]),
    }


@pytest.mark.parametrize(
    ("name", "headers"), [("parquet", PARQUET), ("arrow", ARROW), ("runs", ARROW)]
)
def test_a_bomb_is_stopped_by_what_it_becomes(api: Api, name: str, headers: dict[str, str]) -> None:
    body = bomb(100_000)[name]
    assert len(body) < 2 * 1024**2

    answer = api.submit(body, model="line", key="c" if name != "runs" else "x", headers=headers)

    assert_problem(answer, 413, "too_many_rows" if name == "runs" else "body_too_large")
