"""Unusual rows are scored, bad ones are reported, and no good row is lost with a bad one."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from shared.model_repository import ModelRepository
from tests.contract.answers import accepted, results, row_errors
from tests.live_stack import Api
from worker.artifact_loader import load_artifact

# --- unusual input that is good


@pytest.mark.parametrize(
    ("body", "predictions"),
    [
        pytest.param(b"\xef\xbb\xbfx\n6\n", ["15"], id="BOM"),
        pytest.param(b'\xef\xbb\xbf"x"\n6\n', ["15"], id="BOM before a quote"),
        pytest.param(b"x\r\n6\r\n7\r\n", ["15", "17"], id="CRLF"),
        pytest.param(b"x\r6\r7\r", ["15", "17"], id="lone CR"),
        pytest.param(b"x\n6\n7", ["15", "17"], id="no line end"),
        pytest.param(b"\n\nx\n\n6\n \n7\n\n", ["15", "17"], id="blank lines"),
        pytest.param(b't,x\n"a\nb",6\n"c,""\r\n",7\n', ["15", "17"], id="newline in quotes"),
        pytest.param(b'x\n"6"\n 7 \n', ["15", "17"], id="quotes and blanks around numbers"),
        pytest.param(b"x\n6.0\n+7\n8e0\n", ["15", "17", "19"], id="ways to write a number"),
        pytest.param(b"t,x,t\na,6,b\n", ["15"], id="extra columns"),
        pytest.param(b"t,x\n" + b"a" * 10**6 + b",6\nb,7\n", ["15", "17"], id="1 MB cell"),
        pytest.param("ä,x\nö\u2028ü,6\n".encode(), ["15"], id="UTF-8"),
    ],
)
def test_unusual_but_sound_input_is_scored(api: Api, body: bytes, predictions: list[str]) -> None:
    job = accepted(api.submit(body, model="line"))

    assert job["status"] == "succeeded"
    assert [line["prediction"] for line in results(api, job)] == predictions


@pytest.mark.parametrize("name", ["forest", "boosted"])
def test_missing_values_are_given_to_a_model_that_takes_them(
    api: Api, models_dir: Path, name: str
) -> None:
    text = "a,b,c\n1,2,3\n1,NaN,\n,,\nNA,null,1\n"

    job = accepted(api.submit(text, model=name))

    repository = ModelRepository(models_dir)
    manifest = repository.resolve(name)
    estimator = load_artifact(repository.artifact_path(manifest), manifest, allow_pickle=False)
    expected = estimator.predict(pd.read_csv(io.StringIO(text))).tolist()
    assert [json.loads(line["prediction"]) for line in results(api, job)] == expected


# --- rows that are bad


Faults = list[tuple[int, int, str | None, str]]


@pytest.mark.parametrize(
    ("model", "body", "faults"),
    [
        pytest.param(
            "linear",
            b"a,b\n1,2\n1\n1,2,3\n3,4\n",
            [(2, 3, None, "wrong_field_count"), (3, 4, None, "wrong_field_count")],
            id="ragged",
        ),
        pytest.param(
            "linear",
            b"a,b\n1,2\n1,abc\nx y,z\n3,1_000\n",
            [
                (2, 3, "b", "not_a_number"),
                (3, 4, "a", "not_a_number"),
                (4, 5, "b", "not_a_number"),
            ],
            id="text for a number",
        ),
        pytest.param(
            "line",
            b"x\ntrue\nFalse\n",
            [(1, 2, "x", "not_a_number"), (2, 3, "x", "not_a_number")],
            id="only booleans for numbers",
        ),
        pytest.param(
            "line",
            "x\n6\n٣\n１\n".encode(),
            [(2, 3, "x", "not_a_number"), (3, 4, "x", "not_a_number")],
            id="digits of other scripts",
        ),
        pytest.param(
            "churn",
            b"age,city,member\n20,Bonn,true\n30,7,FALSE\n40,Ulm,maybe\n",
            [(2, 3, "city", "unknown_category"), (3, 4, "member", "not_a_boolean")],
            id="number for a category",
        ),
        pytest.param(
            "churn",
            b"age,city,member\n20,\xffBonn,maybe\n30\n",
            [(1, 2, "city", "invalid_utf8"), (2, 3, None, "wrong_field_count")],
            id="no readable row",
        ),
        pytest.param(
            "linear",
            b"a,b\n1,2\nNaN,2\n1,\nNA,null\n",
            [
                (2, 3, "a", "missing_value"),
                (3, 4, "b", "missing_value"),
                (4, 5, "a", "missing_value"),
            ],
            id="missing",
        ),
        pytest.param(
            "linear",
            b"a,b\n1,2\ninf,-Infinity\n1e999,2\n3,4\n",
            [
                (2, 3, "a", "not_finite"),
                (3, 4, "a", "not_finite"),
            ],
            id="infinite",
        ),
        pytest.param(
            "boosted",
            b"a,b,c\n1,2,3\n1,2,inf\n",
            [(2, 3, "c", "not_finite")],
            id="infinite, NaN ok",
        ),
        pytest.param(
            "churn",
            "age,city,member\n20,Köln,true\n30,Bonn,true\n".encode("latin-1"),
            [(1, 2, "city", "invalid_utf8")],
            id="Latin-1",
        ),
        pytest.param("line", b"x\n6\n7\0\n8\n", [(2, 3, "x", "nul_byte")], id="NUL byte"),
        pytest.param(
            "line",
            b't,x\r\n"a\r\nb",6\r\n"c\nd",bad\r\n\r\ne,7\r\nf,bad\r\n',
            [(2, 4, "x", "not_a_number"), (4, 8, "x", "not_a_number")],
            id="lines inside quotes",
        ),
        pytest.param("line", b"x\r6\rbad\r", [(2, 3, "x", "not_a_number")], id="lone CR"),
        pytest.param(
            "line", b"x\n6\n" + b"9" * 10**6 + b"\n", [(2, 3, "x", "not_finite")], id="1 MB number"
        ),
        pytest.param(
            "churn",
            b"age,city,member\n20,Bonn,true\n20," + b"B" * 10**6 + b",true\n",
            [(2, 3, "city", "unknown_category")],
            id="1 MB category",
        ),
        pytest.param("fussy", b"x\n1\n-2\n3\n", [(2, 3, None, "prediction_failed")], id="refused"),
    ],
)
def test_bad_rows_are_reported_where_they_stand_and_cost_no_good_one(
    api: Api, model: str, body: bytes, faults: Faults
) -> None:
    job = accepted(api.submit(body, model=model))
    lines, errors = results(api, job), row_errors(api, job)

    bad = {row: code for row, _, _, code in reversed(faults)}
    assert [tuple(error.values()) for error in errors] == faults
    assert {int(line["row"]): line["error"] for line in lines if line["error"]} == bad
    assert all(bool(line["prediction"]) != bool(line["error"]) for line in lines)
    assert job["counts"] == {
        "total": len(lines), "succeeded": len(lines) - len(bad), "failed": len(bad), "pending": 0
    }  # fmt: skip
    assert job["status"] == ("failed" if len(bad) == len(lines) else "partially_succeeded")


def test_a_good_row_is_scored_as_if_its_bad_neighbours_were_not_there(api: Api) -> None:
    good = [f"{i / 7!r},{i * 1.1!r},{i!r}" for i in range(200)]
    mixed = [line for row in good for line in (row, "bad,1,2", "1,2")]

    alone = accepted(api.submit("\n".join(["a,b,c", *good]), model="forest"))
    among = accepted(api.submit("\n".join(["a,b,c", *mixed]), model="forest"))

    expected = [line["prediction"] for line in results(api, alone)]
    assert [line["prediction"] for line in results(api, among) if not line["error"]] == expected


def test_seven_bad_rows_of_ten_thousand_are_found_and_the_others_scored(api: Api) -> None:
    bad = [1, 17, 999, 1000, 5000, 9998, 10_000]
    rows = ["bad" if row in bad else str(row) for row in range(1, 10_001)]

    job = accepted(api.submit("\n".join(["x", *rows]), model="echo"))

    assert (job["status"], job["counts"]["failed"]) == ("partially_succeeded", 7)
    assert [(e["row"], e["line"]) for e in row_errors(api, job)] == [(r, r + 1) for r in bad]
    good = {int(r["row"]): float(r["prediction"]) for r in results(api, job) if not r["error"]}
    assert good == {row: 10.0 * row for row in range(1, 10_001) if row not in bad}


def test_a_message_shows_the_cell_but_not_a_megabyte_of_it(api: Api) -> None:
    job = accepted(api.submit(b"x\n6\n" + b"z" * 10**6 + b"\n", model="line"))

    text = api.get(job["urls"]["errors"]).text
    assert "Column 'x' holds 'zzzz" in text
    assert "it takes a number" in text
    assert len(text) < 300
