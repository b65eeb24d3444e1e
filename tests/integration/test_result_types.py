"""Joined columns that came in with types go out with them, through the application itself."""

import base64
import io
from datetime import UTC, date, datetime
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from flask.testing import FlaskClient

from api.app import create_app
from shared.settings import Settings
from shared.signature import Dtype, OutputColumn
from tests.factories import make_result
from tests.job_steps import JobSteps

CARRIED = pa.schema(
    {
        "row": pa.int32(),
        "at": pa.timestamp("us", "Europe/Berlin"),
        "day": pa.date32(),
        "price": pa.decimal128(8, 2),
        "color": pa.dictionary(pa.int8(), pa.large_string()),
        "ratio": pa.float32(),
        "is_new": pa.bool_(),
    }
)
COLUMNS = ("row", "row_input", *CARRIED.names[1:], "prediction", "error")
LINES = (
    b"1,7,2026-07-01 12:00:00+0200,2026-07-01,12.30,red,0.1,true,1.5,\n"
    b"2,,,,,,,,2.5,\n"
    b"3,x,y,z,?,blue,!,maybe,,wrong_field_count\n"
)


@pytest.fixture
def client(redis_url: str) -> FlaskClient:
    return create_app(Settings(redis_url=redis_url)).test_client()


@pytest.fixture
def job_id(steps: JobSteps) -> str:
    dtypes = {"row": Dtype.INT, "prediction": Dtype.FLOAT}
    columns = [OutputColumn(name=n, dtype=dtypes.get(n, Dtype.STRING)) for n in COLUMNS]
    job_id = steps.submit(
        header=tuple(CARRIED.names),
        carried=tuple(CARRIED.names),
        result_columns=tuple(columns),
        carried_types=base64.b64encode(CARRIED.serialize().to_pybytes()).decode(),
    )
    steps.leases.commit(steps.leased(), make_result(results=LINES))
    return job_id


@pytest.mark.parametrize("name", ["parquet", "arrow"])
def test_joined_columns_have_the_types_of_the_input(
    client: FlaskClient, job_id: str, name: str
) -> None:
    body = client.get(f"/jobs/{job_id}/results?format={name}").data

    read = {
        "parquet": pyarrow.parquet.read_table,
        "arrow": lambda b: pa.ipc.open_stream(b).read_all(),
    }
    table = read[name](io.BytesIO(body))
    assert tuple(table.column_names) == COLUMNS
    carried = table.select(COLUMNS[1:8])
    expected = CARRIED.set(4, pa.field("color", pa.dictionary(pa.int32(), pa.large_string())))
    assert [str(t).replace("large_", "") for t in carried.schema.types] == [
        str(t).replace("large_", "") for t in expected.types
    ]
    first, empty, broken = (list(row.values()) for row in carried.to_pylist())
    assert first[1:] == [
        datetime(2026, 7, 1, 10, tzinfo=UTC), date(2026, 7, 1), Decimal("12.30"), "red",
        pytest.approx(0.1), True,
    ]  # fmt: skip
    assert empty == [None] * 7
    assert broken == [None, None, None, None, "blue", None, None]


def test_pandas_gets_the_types_that_it_would_have_from_the_input(
    client: FlaskClient, job_id: str
) -> None:
    body = client.get(f"/jobs/{job_id}/results?format=parquet").data

    table = pd.read_parquet(io.BytesIO(body), dtype_backend="numpy_nullable")

    assert [str(dtype) for dtype in table.dtypes] == [
        "Int64", "Int32", "datetime64[us, Europe/Berlin]", "object", "object", "category",
        "Float32", "boolean", "Float64", "string",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["json", "ndjson"])
def test_json_has_joined_numbers_and_booleans(client: FlaskClient, job_id: str, name: str) -> None:
    text = client.get(f"/jobs/{job_id}/results?format={name}&limit=1").text

    assert '"row_input": 7, "at": "2026-07-01 12:00:00+0200"' in text
    assert '"price": "12.30", "color": "red", "ratio": 0.1, "is_new": true' in text
