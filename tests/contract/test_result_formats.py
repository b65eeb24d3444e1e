"""Results in every format, whole and in parts, by header and by query."""

import io
import json
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import requests

from tests.contract.answers import Document, accepted, assert_problem, results
from tests.live_stack import Api

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
SUFFIXES = {name: name for name in MEDIA_TYPES} | {"arrow": "arrows"}
READERS = {
    "csv": lambda body: pd.read_csv(io.BytesIO(body), keep_default_na=False, na_values=[""]),
    "ndjson": lambda body: pd.read_json(io.BytesIO(body), lines=True, dtype=False),
    "json": lambda body: pd.DataFrame(json.loads(body)),
    "parquet": lambda body: pd.read_parquet(io.BytesIO(body)),
    "arrow": lambda body: pa.ipc.open_stream(body).read_pandas(),
}
PEOPLE = 'age,city,member\n20,Bonn,true\nold,"Ki\nel",false\n50,Ulm,1\n'


def read(answer: requests.Response) -> list[Document]:
    """The rows of an answer in whatever format it says that it has."""
    assert answer.status_code == 200, answer.text
    name = next(n for n, found in MEDIA_TYPES.items() if found == answer.headers["Content-Type"])
    table = READERS[name](answer.content)
    return list(table.astype(object).where(table.notna(), None).to_dict("records"))


@pytest.fixture(scope="module")
def people(api: Api) -> Document:
    """A job of three rows, the second of which is bad."""
    return accepted(api.submit(PEOPLE, model="churn", join="input"))


@pytest.fixture(scope="module")
def many(api: Api) -> Document:
    """A job of many chunks, whose rows have newlines inside quotes."""
    rows = (f'{n if n % 97 else "bad"},"{n}\n""{"z" * 500}"\n' for n in range(20_000))
    job = accepted(api.submit("x,note\n" + "".join(rows), model="echo", key="note", wait=60))
    assert job["progress"]["chunks_total"] > 1
    return job


@pytest.fixture(scope="module")
def many_lines(api: Api, many: Document) -> list[dict[str, str]]:
    """What its results are in CSV."""
    return results(api, many)


# --- whole


@pytest.mark.parametrize("name", MEDIA_TYPES)
@pytest.mark.parametrize("what", ["results", "errors"])
def test_a_format_is_asked_for_by_header_or_by_query(
    api: Api, people: Document, name: str, what: str
) -> None:
    by_header = api.get(people["urls"][what], Accept=MEDIA_TYPES[name])
    by_query = api.get(f"{people['urls'][what]}?format={name}", Accept="text/html")

    assert by_query.content == by_header.content
    for answer in (by_header, by_query):
        assert answer.headers["Content-Type"] == MEDIA_TYPES[name]
        assert answer.headers["Content-Length"] == str(len(answer.content))
        file_name = f'{people["id"]}-{what}.{SUFFIXES[name]}"'
        assert answer.headers["Content-Disposition"].endswith(file_name)


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_every_format_says_the_same(api: Api, people: Document, name: str) -> None:
    found = read(api.get(f"{people['urls']['results']}?format={name}"))

    carried = [str(row.pop("age")) for row in found]
    assert carried == ["20", "old", "50"]
    assert [{k: v for k, v in row.items() if k != "member"} for row in found] == [
        {"row": 1, "city": "Bonn", "prediction": "stay", "error": None},
        {"row": 2, "city": "Ki\nel", "prediction": None, "error": "not_a_number"},
        {"row": 3, "city": "Ulm", "prediction": "go", "error": None},
    ]


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_row_errors_come_in_every_format(api: Api, people: Document, name: str) -> None:
    (error,) = read(api.get(f"{people['urls']['errors']}?format={name}"))

    assert (error["row"], error["line"], error["column"]) == (2, 3, "age")
    assert error["code"] == "not_a_number"


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_a_job_without_row_errors_has_an_empty_list_in_every_format(api: Api, name: str) -> None:
    job = accepted(api.submit("x\n6\n", model="line"))

    answer = api.get(f"{job['urls']['errors']}?format={name}")

    assert answer.status_code == 200
    assert name == "ndjson" or read(answer) == []


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_a_large_job_comes_in_every_format(api: Api, many: Document, name: str) -> None:
    found = read(api.get(f"{many['urls']['results']}?format={name}"))

    assert [row["row"] for row in found] == list(range(1, 20_001))
    assert all(row["note"].startswith(f"{n}\n") for n, row in enumerate(found))
    assert [row["prediction"] for row in found[1:97]] == [10.0 * n for n in range(1, 97)]
    assert [row["error"] for row in found[:98:97]] == ["not_a_number"] * 2


def test_columns_have_the_types_of_the_signature(api: Api) -> None:
    body = "a,b,c\n9,9,9\nbad,1,1\n"
    kinds: list[tuple[str, dict[str, str], list[pa.DataType]]] = [
        ("boosted", {}, [pa.bool_()]),
        ("boosted", {"output": "predict_proba", "key": "a"}, [pa.string(), *[pa.float64()] * 2]),
    ]
    for model, options, expected in kinds:
        job = accepted(api.submit(body, model=model, **options))

        answer = api.get(f"{job['urls']['results']}?format=parquet")

        schema = pyarrow.parquet.read_schema(io.BytesIO(answer.content))
        assert schema.types == [pa.int64(), *expected, pa.string()]


# --- parts


@pytest.mark.parametrize("name", MEDIA_TYPES)
@pytest.mark.parametrize("follow", ["", "&follow=true"])
@pytest.mark.parametrize(("offset", "limit"), [(0, 2), (4321, 7), (19_999, 5)])
def test_a_part_is_a_slice_of_the_whole(
    api: Api,
    many: Document,
    many_lines: list[dict[str, str]],
    name: str,
    follow: str,
    offset: int,
    limit: int,
) -> None:
    query = f"offset={offset}&limit={limit}&format={name}{follow}"
    found = read(api.get(f"{many['urls']['results']}?{query}"))

    assert [(row["row"], row["note"]) for row in found] == [
        (int(line["row"]), line["note"]) for line in many_lines[offset : offset + limit]
    ]


@pytest.mark.parametrize("name", [name for name in MEDIA_TYPES if name != "ndjson"])
@pytest.mark.parametrize("query", ["offset=20000", "limit=0", "offset=999999999&limit=1"])
def test_a_part_without_rows_is_an_empty_table(
    api: Api, many: Document, name: str, query: str
) -> None:
    assert read(api.get(f"{many['urls']['results']}?{query}&format={name}")) == []


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_a_part_of_the_row_errors_is_a_slice_of_them(api: Api, many: Document, name: str) -> None:
    found = read(api.get(f"{many['urls']['errors']}?offset=3&limit=2&format={name}"))

    assert [row["row"] for row in found] == [3 * 97 + 1, 4 * 97 + 1]


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_a_job_under_way_is_followed_in_every_format(api: Api, slow: str, name: str) -> None:
    job = accepted(api.submit("x\n" + "3\n" * 600, wait=0, model=slow))

    found = read(api.get(f"{job['urls']['results']}?follow=true&offset=5&limit=500&format={name}"))

    assert [row["row"] for row in found] == list(range(6, 506))


def test_a_followed_part_ends_when_it_is_complete(api: Api, running: Document) -> None:
    answer = api.get(f"{running['urls']['results']}?follow=true&limit=3&format=json")

    assert [row["row"] for row in answer.json()] == [1, 2, 3]
    assert api.get(running["urls"]["self"]).json()["status"] in ("receiving", "running")


@pytest.mark.parametrize("what", ["results", "errors"])
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("offset=-1", ["'offset'", "'-1'", "from 0"]),
        ("offset=many", ["'offset'", "'many'"]),
        ("limit=-1", ["'limit'", "'-1'", "from 0"]),
        ("limit=1.5", ["'limit'"]),
        (f"limit={10**30}", ["'limit'"]),
        ("limit=1&limit=2", ["'limit'", "once"]),
        ("format=xlsx", ["'format'", "csv, ndjson, json, parquet, arrow"]),
        ("rows=1", ["'rows'", "offset", "limit", "format"]),
    ],
)
def test_what_is_no_part_and_no_format_is_refused(
    api: Api, people: Document, what: str, query: str, words: list[str]
) -> None:
    answer = api.get(f"{people['urls'][what]}?{query}")

    assert_problem(answer, 422, "invalid_parameter", *words)


@pytest.mark.parametrize("name", MEDIA_TYPES)
@pytest.mark.parametrize("which", ["people", "many"])
def test_head_answers_as_get_does_without_a_body(
    api: Api, name: str, which: str, request: pytest.FixtureRequest
) -> None:
    url = f"{api.url}{request.getfixturevalue(which)['urls']['results']}?format={name}"

    answer = requests.head(url, timeout=60)

    assert (answer.status_code, answer.content) == (200, b"")
    ordinary = requests.get(url, timeout=60)
    for header in ("Content-Type", "Content-Length", "Content-Disposition", "Vary"):
        assert answer.headers.get(header) == ordinary.headers.get(header)


# --- the answer of POST /predict


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_predictions_are_answered_in_every_format(api: Api, name: str) -> None:
    options: dict[str, Any] = {"model": "line", "key": "name"}

    by_header = api.predict(
        "name,x\nfirst,6\nsecond,six\n", headers={"Accept": MEDIA_TYPES[name]}, **options
    )
    by_query = api.predict("name,x\nfirst,6\nsecond,six\n", format=name, **options)

    assert by_query.content == by_header.content
    assert by_query.headers["Content-Type"] == MEDIA_TYPES[name]
    assert read(by_query) == [
        {"row": 1, "name": "first", "prediction": 15.0, "error": None},
        {"row": 2, "name": "second", "prediction": None, "error": "not_a_number"},
    ]


def test_a_request_is_the_same_whatever_the_format_of_its_answer(api: Api) -> None:
    key = {"Idempotency-Key": "in another format"}

    first = api.predict("x\n6\n", model="line", headers=key)
    second = api.predict("x\n6\n", model="line", headers=key, format="json")

    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.headers["Content-Location"] == first.headers["Content-Location"]
    assert second.json() == [{"row": 1, "prediction": 15.0, "error": None}]
