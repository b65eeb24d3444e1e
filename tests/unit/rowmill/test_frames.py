"""Data frames as they go over the wire and come back."""

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rowmill.errors import SourceError, TransportError
from rowmill.frames import BATCH_BYTES, FrameUpload, predictions_from

FRAME = pd.DataFrame(
    {
        "day": pd.to_datetime(["2024-02-29 12:00", None, "2025-01-01 00:00"]).tz_localize(
            "Europe/Rome"
        ),
        "kind": pd.Categorical(["b", "a", None], categories=["b", "a", "c"], ordered=True),
        "count": pd.array([1, None, 2**53 + 1], dtype="Int64"),
        "flag": pd.array([True, None, False], dtype="boolean"),
        "half": np.array([0.1, np.nan, -1e-300]),
        "small": np.array([1, 2, 3], dtype="uint8"),
        "name": ["ä", None, '"quoted"\n'],
    },
    index=pd.Index([30, 10, 20], name="state"),
)


def stream_of(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@pytest.fixture
def scored(client, server, job_document):
    """Submits a frame to a server that gives these results."""

    def score(frame: pd.DataFrame, results: pa.Table) -> pd.DataFrame:
        server.say("POST", "/jobs", status=202, json_body=job_document("queued"))
        server.say("GET", "/jobs/job_1", json_body=job_document("succeeded", succeeded=10))
        server.say("GET", "/jobs/job_1/results", body=stream_of(results))
        return client.predict(frame, "petrol")

    return score


def test_a_frame_is_sent_as_an_arrow_stream_without_its_index(scored, server):
    results = pa.table({"row": [1, 2, 3], "prediction": [1.0, 2.0, 3.0], "error": ["", "", ""]})

    scored(FRAME, results)

    request = server.requests[0]
    assert request.headers["Content-Type"] == "application/vnd.apache.arrow.stream"
    assert request.target == "/jobs?model=petrol"
    sent = pa.ipc.open_stream(request.body).read_all()
    assert sent.schema.metadata is None
    assert sent.column_names == list(FRAME.columns)
    assert sent["count"].to_pylist() == [1, None, 2**53 + 1]
    assert sent["kind"].to_pylist() == ["b", "a", None]
    assert sent["day"].to_pandas().tolist() == FRAME["day"].tolist()


def test_predictions_have_the_index_of_the_frame_and_their_types(scored):
    results = pa.table(
        {
            "row": [1, 2, 3],
            "prediction": pa.array([2**53 + 1, None, 3], pa.int64()),
            "error": pa.array([None, "not_a_number", None], pa.string()),
        }
    )

    predictions = scored(FRAME, results)

    assert list(predictions.columns) == ["prediction", "error"]
    assert list(FRAME.join(predictions).index) == [30, 10, 20]
    assert predictions["prediction"].dtype == "Int64"
    assert predictions.loc[30, "prediction"] == 2**53 + 1
    assert predictions["error"].isna().tolist() == [True, False, True]


def test_columns_that_come_back_have_the_dtypes_that_they_had(scored):
    joined = pa.Table.from_pandas(FRAME, preserve_index=False).add_column(0, "row", [[1, 2, 3]])
    # A server knows the value of a category, not their order or what others there are.
    joined = joined.set_column(2, "kind", joined["kind"].cast(pa.string()))

    back = scored(FRAME, joined.append_column("error", pa.nulls(3, pa.string())))

    pd.testing.assert_frame_equal(back[list(FRAME.columns)], FRAME)


def test_rows_that_are_not_there_leave_the_others_in_their_place(scored):
    """As of a job that was cancelled, or a retry of some rows."""
    results = pa.table({"row": [3, 1], "prediction": [3.0, 1.0], "error": ["", ""]})

    assert scored(FRAME, results)["prediction"].to_dict() == {20: 3.0, 30: 1.0}


def test_without_a_frame_the_row_number_is_the_index():
    results = pa.table({"row": [1, 2], "prediction": ["go", "stay"], "error": ["", ""]})

    predictions = predictions_from([stream_of(results)], None)

    assert predictions.index.name == "row"
    assert predictions.loc[2, "prediction"] == "stay"


def test_the_index_is_that_of_the_frame_when_it_was_sent():
    frame = FRAME.copy()
    upload = FrameUpload(frame)

    frame.index = pd.Index(["x", "y", "z"])

    assert list(upload.origin.index) == [30, 10, 20]


@pytest.mark.parametrize("size", [1, 1000])
def test_a_stream_is_read_however_its_blocks_are_cut(size):
    stream = stream_of(pa.table({"row": [1], "prediction": [1.5], "error": [""]}))
    blocks = [stream[at : at + size] for at in range(0, len(stream), size)]

    assert predictions_from(blocks, None)["prediction"].tolist() == [1.5]


def test_results_that_break_off_are_an_error_and_no_short_frame(client, server):
    stream = stream_of(pa.table({"row": [1, 2], "prediction": [1.0, 2.0], "error": ["", ""]}))
    whole_batches = stream[:-8]  # less the mark of the end, which readers can do without
    server.say("GET", "/jobs/job_1/results", body=whole_batches, claimed_bytes=len(stream))

    with pytest.raises(TransportError, match="broke off"):
        predictions_from(client.results("job_1", "arrow"), None)


def test_a_frame_is_sent_in_batches_and_any_number_of_times():
    frame = pd.DataFrame({"a": np.arange(BATCH_BYTES / 2)})
    told: list[int] = []
    upload = FrameUpload(frame, told.append)

    first, second = list(upload), list(upload)

    assert first == second
    assert max(map(len, first)) < 2 * BATCH_BYTES
    assert told[-1] == sum(map(len, first))
    assert pa.ipc.open_stream(b"".join(first)).read_all()["a"].to_numpy().tolist() == list(frame.a)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1, "x"]}, dtype=object),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame({"a": [1j]}),
    ],
    ids=["mixed types", "a column twice", "no Arrow type"],
)
def test_a_frame_that_arrow_can_not_hold_is_refused_before_anything_is_sent(client, server, frame):
    with pytest.raises(SourceError, match="the data frame"):
        client.submit(frame)

    assert server.requests == []


@pytest.mark.parametrize(
    ("source", "name"),
    [(FRAME["half"], "Series"), ([{"a": 1}], "list"), (np.array([1]), "ndarray")],
    ids=["a column", "a list", "an array"],
)
def test_what_is_no_source_is_refused_with_what_is_one(client, server, source, name):
    accepted = "give a pandas data frame, a path, bytes, or a file opened in binary mode"

    with pytest.raises(SourceError, match=f"{name}: {accepted}"):
        client.predict(source, "petrol")

    assert server.requests == []


def test_a_key_that_is_the_index_is_refused_before_anything_is_sent(client, server):
    with pytest.raises(SourceError, match=r"'state': the index is not sent; use reset_index\(\)"):
        client.predict(FRAME, "petrol", key="state")

    assert server.requests == []


def test_a_client_that_sees_no_frame_imports_neither_pandas_nor_pyarrow():
    code = (
        "import sys; from rowmill.client import Client; Client('http://127.0.0.1:1');"
        "print({'pandas', 'pyarrow', 'numpy', 'rich', 'click', 'IPython'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout == "set()\n"


def test_without_pyarrow_the_way_to_install_it_is_told():
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from rowmill.client import Client\n"
        "import pandas as pd\n"
        "Client('http://127.0.0.1:1').submit(pd.DataFrame({'a': [1]}))"
    )

    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)

    assert "MissingPackageError: Data frames need pyarrow; run: pip install 'rowmill[pandas]'." in (
        done.stderr
    )
