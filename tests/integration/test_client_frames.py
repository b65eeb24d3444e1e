"""Data frames and files of every format through the real stack, and back as data frames."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rowmill.client import Client
from rowmill.errors import JobFailedError
from tests.live_stack import Api

PEOPLE = pd.DataFrame(
    {
        "age": pd.array([20, 30, 40], dtype="Int64"),
        "city": pd.Categorical(["Bonn", "Kiel", "Bonn"], ["Kiel", "Bonn", "Ulm"], ordered=True),
        "member": pd.array([True, False, True], dtype="boolean"),
        "seen": pd.to_datetime(["2024-02-29 12:00:00.123456789", None, "2025-10-26 02:30"]
            , format="ISO8601").tz_localize("UTC").tz_convert("Europe/Berlin"),
        "day": pd.to_datetime(["2024-02-29", None, "1969-07-20"]),
        "visits": pd.array([1, None, 2**53 + 1], dtype="Int64"),
        "share": np.array([0.1, np.nan, -1e-300]),
        "small": np.array([1.5, 2.5, 0.1], dtype="float32"),
        "note": ["ä, b", None, 'a "quote"\nand a line'],
        "took": pd.to_timedelta([1, None, 3], unit="s"),
    },
    index=pd.Index([30, 10, 20], name="person"),
)  # fmt: skip

Write = Callable[[pd.DataFrame, Path], object]


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    with Client(api.url) as client:
        yield client


def write_stream(frame: pd.DataFrame, path: Path) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def test_predictions_join_the_frame_that_they_are_of(client: Client) -> None:
    predictions = client.predict(PEOPLE, model="churn")

    assert list(predictions.columns) == ["prediction", "error"]
    joined = PEOPLE.join(predictions)
    assert joined["prediction"].isin(["stay", "go"]).all()
    assert joined["error"].isna().all()


def test_values_of_every_type_come_back_as_they_were(client: Client) -> None:
    back = client.predict(PEOPLE, "churn", join="input")

    pd.testing.assert_frame_equal(back[list(PEOPLE.columns)], PEOPLE)


def test_outputs_have_their_types(client: Client) -> None:
    frame = pd.DataFrame({"a": [0.1, -2.0], "b": [1.0, 2.0], "c": [None, 1.0]})

    classes = client.predict(frame, "boosted")
    probabilities = client.predict(frame, "boosted", output="predict_proba")
    numbers = client.predict(frame, "forest")

    assert classes["prediction"].dtype == bool
    assert probabilities[["proba_False", "proba_True"]].sum(axis=1).tolist() == pytest.approx(
        [1, 1]
    )
    assert numbers["prediction"].dtype == float


def test_a_row_that_fails_has_its_code_and_keeps_its_place(client: Client) -> None:
    frame = pd.DataFrame({"x": ["6", "six", "7"]}, index=["a", "b", "c"])

    handle = client.submit(frame, model="echo")
    handle.wait(60)
    predictions = handle.to_pandas()

    assert predictions["prediction"].tolist() == pytest.approx([60, np.nan, 70], nan_ok=True)
    assert predictions["error"].fillna("").to_dict() == {"a": "", "b": "not_a_number", "c": ""}
    (error,) = handle.errors()
    assert (error.row, error.column, error.code) == (2, "x", "not_a_number")


def test_failed_rows_that_are_tried_again_keep_their_index(client: Client) -> None:
    frame = pd.DataFrame({"x": ["6", "six", "7", "7.5.5"]}, index=["a", "b", "c", "d"])
    handle = client.submit(frame, model="echo")
    handle.wait(60)

    again = handle.retry()
    with pytest.raises(JobFailedError):
        again.wait(60)

    assert again.to_pandas().index.tolist() == ["b", "d"]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("in.csv", lambda frame, path: frame.to_csv(path, index=False)),
        ("in.csv.gz", lambda frame, path: frame.to_csv(path, index=False)),
        ("in.parquet", lambda frame, path: frame.to_parquet(path)),
        ("in.ndjson", lambda frame, path: frame.to_json(path, orient="records", lines=True)),
        ("in.jsonl.gz", lambda frame, path: frame.to_json(path, orient="records", lines=True)),
        ("in.json", lambda frame, path: frame.to_json(path, orient="records")),
        ("in.arrows", write_stream),
        ("in.arrow", lambda frame, path: frame.to_feather(path)),
    ],
)
def test_a_file_is_sent_as_what_its_name_says(
    client: Client, tmp_path: Path, name: str, write: Write
) -> None:
    frame = pd.DataFrame({"x": np.arange(1000.0)})
    write(frame, tmp_path / name)

    predictions = client.predict(tmp_path / name, "echo")

    assert predictions.index.tolist() == list(range(1, 1001))
    assert predictions["prediction"].tolist() == [x * 10 for x in range(1000)]


@pytest.mark.parametrize("name", ["out.csv", "out.ndjson", "out.json", "out.parquet", "out.arrow"])
def test_results_are_written_as_what_the_name_says(
    client: Client, tmp_path: Path, name: str
) -> None:
    handle = client.submit(b"x\n6\n", model="echo")
    handle.wait(60)

    handle.download(tmp_path / name)

    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": pd.read_csv,
        ".ndjson": lambda path: pd.read_json(path, lines=True),
        ".json": pd.read_json,
        ".parquet": pd.read_parquet,
        ".arrow": lambda path: pa.ipc.open_stream(path).read_pandas(),
    }
    assert readers[(tmp_path / name).suffix](tmp_path / name)["prediction"].tolist() == [60]


def test_results_are_followed_while_the_job_runs(client: Client) -> None:
    handle = client.submit(b"x\n" + b"1\n" * 3_000, model="slow")

    text = b"".join(handle.results(follow=True))

    assert text.count(b"\n") == 3_001
    assert handle.status() == "succeeded"


def test_a_large_frame_goes_through_in_batches(client: Client) -> None:
    frame = pd.DataFrame({"x": np.arange(700_000.0)}, index=np.arange(700_000)[::-1])

    predictions = client.predict(frame, "echo")

    assert (predictions["prediction"] == frame["x"] * 10).all()
    assert predictions.index.equals(frame.index)
