"""Parquet in, Parquet out: joined columns come back as they were, to Arrow and to pandas."""

import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from tests.live_stack import Api

PARQUET = "application/vnd.apache.parquet"

TABLE = pd.DataFrame(
    {
        "x": [6.0, 7.5, 1.0],
        "at": pd.to_datetime(["2026-11-26 10:00:00.123456", None, "1999-12-31 00:00:00.0"]).astype(
            "datetime64[us]"
        ),
        "seen": pd.to_datetime(["2026-07-01 12:00", "2026-12-01 12:00", None])
        .tz_localize("Europe/Berlin")
        .astype("datetime64[us, Europe/Berlin]"),
        "count": pd.array([2**60 + 1, None, -3], dtype="Int64"),
        "small": pd.array([1, 2, None], dtype="UInt8"),
        "whole": [1, 2, 3],
        "color": pd.Categorical(["red", None, "blue"]),
        "is_new": pd.array([True, None, False], dtype="boolean"),
        "note": pd.array(["a,b", "two\nlines", None], dtype="str"),
        "narrow": pd.array([0.1, 0.2, 0.3], dtype="float32"),
    }
)


def sent(api: Api, table: pd.DataFrame) -> requests.Response:
    file = io.BytesIO()
    table.to_parquet(file, index=False)
    headers = {"Content-Type": PARQUET, "Accept": PARQUET}
    return api.predict(file.getvalue(), headers=headers, model="line", join="input")


@pytest.fixture(scope="module")
def answered(api: Api) -> bytes:
    answer = sent(api, TABLE)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == PARQUET
    return answer.content


def test_pandas_reads_the_frame_that_was_sent_with_predictions(answered: bytes) -> None:
    got = pd.read_parquet(io.BytesIO(answered))

    assert list(got.columns) == ["row", *TABLE.columns, "prediction", "error"]
    pd.testing.assert_frame_equal(
        got[list(TABLE.columns)].assign(color=got["color"].astype("str")),
        TABLE.assign(color=TABLE["color"].astype("str")),
    )
    assert got["color"].dtype == "category"
    assert got["prediction"].tolist() == [15.0, 18.0, 5.0]


def test_the_types_of_the_file_are_those_of_the_input(answered: bytes) -> None:
    schema = pq.read_schema(io.BytesIO(answered))
    sent_types = pa.Schema.from_pandas(TABLE, preserve_index=False)

    kept = {name: schema.field(name).type for name in sent_types.names if name != "color"}

    assert kept == {f.name: f.type for f in sent_types if f.name != "color"}
    assert pa.types.is_dictionary(schema.field("color").type)


def test_what_is_written_where_pandas_writes_can_be_anything(api: Api) -> None:
    table = pa.table({"x": [6.0]}).replace_schema_metadata(
        {"pandas": '{"columns": [{"field_name": [], "numpy_type": 5}]}'}
    )
    file = io.BytesIO()
    pq.write_table(table, file)
    headers = {"Content-Type": PARQUET}

    answer = api.predict(file.getvalue(), headers=headers, model="line", join="input")

    assert answer.text == "row,x,prediction,error\n1,6,15,\n"
