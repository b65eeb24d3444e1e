"""Results: formats, typing, columns that are carried along, order."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from sklearn.ensemble import HistGradientBoostingRegressor

from shared.model_repository import ModelRepository
from tests.contract import tables
from tests.contract.answers import accepted, assert_problem, records, results, row_errors
from tests.live_stack import Api
from worker.artifact_loader import load_artifact
from worker.publishing import publish

PEOPLE = "age,city,member\n20,Bonn,true\n35,Kiel,false\n50,Ulm,1\n"

CSV = "text/csv; charset=utf-8"
NDJSON = "application/x-ndjson"


def in_process(models_dir: Path, name: str) -> Any:
    """The estimator itself, loaded as a worker loads it."""
    repository = ModelRepository(models_dir)
    manifest = repository.resolve(name)
    return load_artifact(repository.artifact_path(manifest), manifest, allow_pickle=False)


# --- formats


@pytest.mark.parametrize("what", ["results", "errors"])
@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, CSV),
        ("", CSV),
        ("*/*", CSV),
        ("text/csv", CSV),
        ("text/*", CSV),
        ("text/html, */*;q=0.1", CSV),
        ("application/x-ndjson", NDJSON),
        ("text/csv;q=0.5, application/x-ndjson", NDJSON),
        ("text/csv; charset=utf-8", CSV),
        ("text/csv; header=present; q=0.5, application/x-ndjson; charset=utf-8", NDJSON),
    ],
)
def test_the_format_is_the_one_the_caller_likes_best(
    api: Api, accept: str | None, media_type: str, what: str
) -> None:
    job = accepted(api.submit("x\n6\nbad\n", model="line"))

    answer = requests.get(f"{api.url}{job['urls'][what]}", headers={"Accept": accept}, timeout=60)

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, media_type)
    ending = "csv" if media_type == CSV else "ndjson"
    assert f'"{job["id"]}-{what}.{ending}"' in answer.headers["Content-Disposition"]
    assert answer.headers["Vary"] == "Accept"


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "text/csv;q=0"])
def test_other_formats_are_refused_with_those_there_are(api: Api, accept: str) -> None:
    job = accepted(api.submit("x\n6\n", model="line"))

    answer = api.get(job["urls"]["results"], Accept=accept)

    assert_problem(answer, 406, "not_acceptable", "text/csv", "application/x-ndjson")


def test_results_are_a_line_per_row_under_a_header(api: Api) -> None:
    job = accepted(api.submit("x\n6\nbad\n7.5\n", model="line"))

    text = api.get(job["urls"]["results"]).text

    assert text == "row,prediction,error\n1,15,\n2,,not_a_number\n3,18,\n"


def test_results_of_a_small_job_come_with_their_length(api: Api) -> None:
    job = accepted(api.submit("x\n6\nbad\n7.5\n", model="line"))

    answer = api.get(job["urls"]["results"])

    assert answer.headers["Content-Length"] == str(len(answer.content))


def test_errors_are_a_line_per_bad_row_under_a_header(api: Api) -> None:
    job = accepted(api.submit("a,b\n1,2\nbad,worse\n3,bad\n", model="linear"))

    lines = list(csv.reader(io.StringIO(api.get(job["urls"]["errors"]).text)))

    assert lines[0] == ["row", "line", "column", "code", "message"]
    assert [line[:4] for line in lines[1:]] == [
        ["2", "3", "a", "not_a_number"],
        ["3", "4", "b", "not_a_number"],
    ]


def test_a_job_without_bad_rows_has_an_empty_list_of_errors(api: Api) -> None:
    job = accepted(api.submit("x\n6\n", model="line"))

    assert api.get(job["urls"]["errors"]).text == "row,line,column,code,message\n"
    assert row_errors(api, job) == []


# --- typing


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        (
            "line",
            "x\n6\nbad\n",
            [
                {"row": 1, "prediction": 15.0, "error": None},
                {"row": 2, "prediction": None, "error": "not_a_number"},
            ],
        ),
        (
            "boosted",
            "a,b,c\n9,9,9\nNaN,,-9\n",
            [
                {"row": 1, "prediction": True, "error": None},
                {"row": 2, "prediction": False, "error": None},
            ],
        ),
        (
            "churn",
            "age,city,member\n20,Bonn,true\n",
            [{"row": 1, "prediction": "stay", "error": None}],
        ),
    ],
)
def test_ndjson_gives_values_in_their_types(
    api: Api, model: str, body: str, expected: list[dict[str, Any]]
) -> None:
    found = records(api, accepted(api.submit(body, model=model)))

    assert found == expected
    assert [type(line["prediction"]) for line in found] == [type(e["prediction"]) for e in expected]


def test_a_prediction_that_is_no_number_is_null_in_ndjson_and_valid_json(
    api: Api, models_dir: Path
) -> None:
    job = accepted(api.submit("x\n1e308\n2\n", model="echo"))

    text = api.get(job["urls"]["results"], Accept=NDJSON).text

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    lines = [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    assert [line["prediction"] for line in lines] == [None, 20.0]
    assert [line["prediction"] for line in results(api, job)] == ["inf", "20"]


def test_numbers_are_written_so_that_they_read_back_the_same(api: Api) -> None:
    values = [0.1 + 0.2, 1 / 3, 1e-300, 5e-324, 1.7976931348623157e307, -0.0, 2**53 + 2.0]

    job = accepted(api.submit("\n".join(["x", *map(repr, values)]), model="echo"))

    expected = [value * 10 for value in values]
    assert [float(line["prediction"]) for line in results(api, job)] == expected
    assert [line["prediction"] for line in records(api, job)] == expected


# --- kinds of output


def test_class_labels_are_predicted_as_text(api: Api, models_dir: Path) -> None:
    job = accepted(api.submit(PEOPLE, model="churn"))

    people = pd.read_csv(io.StringIO(PEOPLE.replace("1\n", "true\n")))
    expected = in_process(models_dir, "churn").predict(people).tolist()
    assert [line["prediction"] for line in results(api, job)] == expected


@pytest.mark.parametrize(
    ("model", "body", "columns"),
    [
        ("churn", PEOPLE, ["proba_go", "proba_stay"]),
        ("boosted", "a,b,c\n1,2,3\n-1,,3\n", ["proba_False", "proba_True"]),
    ],
)
def test_probabilities_have_a_column_per_class(
    api: Api, models_dir: Path, model: str, body: str, columns: list[str]
) -> None:
    job = accepted(api.submit(body, model=model, output="predict_proba"))

    lines = records(api, job)
    table = pd.read_csv(io.StringIO(body.replace("Ulm,1", "Ulm,true")))
    expected = in_process(models_dir, model).predict_proba(table)
    assert list(lines[0]) == ["row", *columns, "error"]
    assert np.array([[line[c] for c in columns] for line in lines]) == pytest.approx(expected)


def test_a_bad_row_has_no_probabilities(api: Api) -> None:
    body = "age,city,member\n20,Rome,true\n20,Bonn,true\n"

    job = accepted(api.submit(body, model="churn", output="predict_proba"))

    bad, good = results(api, job)
    assert (bad["proba_go"], bad["proba_stay"], bad["error"]) == ("", "", "unknown_category")
    assert float(good["proba_go"]) + float(good["proba_stay"]) == pytest.approx(1)


# --- carried columns

TEXTS = [
    "plain", "NA", "null", "", " blanks ", "007", "1.50", "true", "a,b", 'say "hi"', "two\nlines",
    "two\r\nlines", "ünï", "sep\u2028arator", "form\x0cfeed", "'", "=1+1", "NaN",
]  # fmt: skip


def csv_text(*rows: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


@pytest.mark.parametrize("other", ["6", "bad"])
@pytest.mark.parametrize("query", [{"join": "input"}, {"key": "note"}])
def test_carried_text_is_kept_to_the_letter(api: Api, query: dict[str, str], other: str) -> None:
    body = csv_text(["note", "x"], *([text, other] for text in TEXTS), ["end", "6"])

    job = accepted(api.submit(body, model="line", **query))

    assert [line["note"] for line in results(api, job)] == [*TEXTS, "end"]
    assert [line["note"] or "" for line in records(api, job)] == [*TEXTS, "end"]


@pytest.fixture
def large_cells() -> Iterator[int]:
    """The size of a cell that the csv module takes only now."""
    usual = csv.field_size_limit(2 * 10**6)
    yield 10**6
    csv.field_size_limit(usual)


def test_carried_text_of_damaged_rows_is_kept_as_far_as_it_can_be_told(
    api: Api, large_cells: int
) -> None:
    long = "z" * large_cells
    body = csv_text(["note", "x"], *([text, "6", "extra"] for text in TEXTS), [long, "6\0"])

    job = accepted(api.submit(f"{body}short\n", model="line", join="input"))

    lines = results(api, job)
    assert [line["note"] for line in lines] == [*TEXTS, long, "short"]
    assert [line["x"] for line in lines] == [*["6"] * len(TEXTS), "6\ufffd", ""]
    assert [line["note"] or "" for line in records(api, job)] == [*TEXTS, long, "short"]


def test_a_byte_order_mark_inside_the_body_belongs_to_its_cell(api: Api) -> None:
    job = accepted(api.submit("note,x\n\ufeffa,6\n\ufeffb,7\n", model="line", key="note"))

    assert [line["note"] for line in results(api, job)] == ["\ufeffa", "\ufeffb"]


def test_join_puts_all_columns_of_the_input_between_row_and_prediction(api: Api) -> None:
    job = accepted(api.submit("id,x,note\n7,6,a\n8,bad,b\n", model="line", join="input"))

    assert api.get(job["urls"]["results"]).text == (
        "row,id,x,note,prediction,error\n1,7,6,a,15,\n2,8,bad,b,,not_a_number\n"
    )


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ({"key": "error"}, ["row", "error_input", "prediction", "error"]),
        ({"key": "x"}, ["row", "x", "prediction", "error"]),
        (
            {"join": "input"},
            ["row", "row_input", "x", "prediction_input", "error_input", "prediction", "error"],
        ),
    ],
)
def test_a_carried_column_whose_name_is_taken_gets_a_suffix(
    api: Api, query: dict[str, str], columns: list[str]
) -> None:
    job = accepted(api.submit("row,x,prediction,error\na,6,b,c\n", model="line", **query))

    (line,) = results(api, job)
    carried = {"row_input": "a", "x": "6", "prediction_input": "b", "error_input": "c"}
    expected = {"row": "1", "prediction": "15", "error": ""} | carried
    assert line == {name: expected[name] for name in columns}
    assert list(line) == columns


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b",x\n0,6\n", {}, id="index of a pandas table"),
        pytest.param(b'{"": 0, "x": 6}\n', tables.NDJSON, id="NDJSON"),
        pytest.param(
            tables.parquet(pd.DataFrame({"": [0], "x": [6.0]})), tables.PARQUET, id="Parquet"
        ),
    ],
)
@pytest.mark.parametrize("output", ["csv", "parquet"])
def test_a_column_without_a_name_is_joined_under_another(
    api: Api, body: bytes, headers: dict[str, str], output: str
) -> None:
    answer = api.predict(body, model="line", join="input", format=output, headers=headers)

    assert answer.status_code == 200, answer.text
    read = pd.read_csv if output == "csv" else pd.read_parquet
    row = read(io.BytesIO(answer.content)).iloc[0]
    assert [float(row[name]) for name in ("_input", "x", "prediction")] == [0, 6, 15]


def test_a_suffix_never_makes_two_columns_alike(api: Api) -> None:
    job = accepted(api.submit("x,row,row_input\n6,a,b\n", model="line", join="input"))

    (line,) = results(api, job)
    assert len(line) == 6
    assert [line["row"], *list(line.values())[2:4]] == ["1", "a", "b"]


def test_a_column_without_a_name_is_joined_as_one(api: Api) -> None:
    """pandas writes its index so."""
    job = accepted(api.submit(",x\n7,6\n", model="line", join="input"))

    assert results(api, job) == [
        {"row": "1", "_input": "7", "x": "6", "prediction": "15", "error": ""}
    ]


# --- order


def test_results_are_in_input_order_whatever_the_order_of_chunks(api: Api) -> None:
    rows = [f'{row if row % 97 else "bad"},"{"z" * 500}\n"' for row in range(20_000)]

    job = accepted(api.submit("\n".join(["x,note", *rows]), model="echo", wait=60))

    lines = results(api, job)
    assert job["progress"]["chunks_total"] > 1
    assert [line["row"] for line in lines] == [str(row + 1) for row in range(20_000)]
    good = [(row, line) for row, line in enumerate(lines) if row % 97]
    assert all(float(line["prediction"]) == 10.0 * row for row, line in good)


# --- features with missing values


TREE_TYPES = [
    "sklearn._loss.link.IdentityLink", "sklearn._loss.link.Interval",
    "sklearn._loss.loss.HalfSquaredError", "sklearn._loss._loss.CyHalfSquaredError",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
]  # fmt: skip


def test_a_missing_boolean_costs_no_neighbour_its_prediction(api: Api, models_dir: Path) -> None:
    sample = pd.DataFrame({"x": np.arange(100.0), "flag": [True, False] * 50})
    estimator = HistGradientBoostingRegressor(max_iter=5).fit(sample, sample["x"] * 2)
    publish(estimator, name="flags", sample=sample, repository=models_dir, trusted_types=TREE_TYPES)

    job = accepted(api.submit("x,flag\n1,true\n2,\n3,FALSE\n", model="flags"))

    expected = estimator.predict(pd.DataFrame({"x": [1.0, 2, 3], "flag": [1.0, np.nan, 0.0]}))
    assert job["status"] == "succeeded"
    assert [line["prediction"] for line in records(api, job)] == pytest.approx(expected)


def test_a_csv_for_a_spreadsheet_holds_no_formula(api: Api) -> None:
    job = api.submit('name,x\n=1+1,6\n"@a,b",-7\n-5,8\n+x,six\n', model="line", join="input").json()
    results, errors = job["urls"]["results"], job["urls"]["errors"]

    plain = api.get(results).text
    guarded = api.get(results + "?guard_formulas=true").text
    as_json = api.get(results + "?format=json&guard_formulas=true").json()

    assert next(csv.DictReader(io.StringIO(plain)))["name"] == "=1+1"
    assert [row["name"] for row in csv.DictReader(io.StringIO(guarded))] == [
        "'=1+1", "'@a,b", "-5", "'+x"
    ]  # fmt: skip
    assert [row["x"] for row in csv.DictReader(io.StringIO(guarded))] == ["6", "-7", "8", "six"]
    assert as_json[0]["name"] == "=1+1"
    assert api.get(errors + "?guard_formulas=true").text == api.get(errors).text
    assert api.get(results + "?guard_formulas=maybe").json()["code"] == "invalid_parameter"
