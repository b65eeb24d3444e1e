"""What each feature adds to a prediction, as callers get it."""

from pathlib import Path

import pandas as pd
import pytest

from tests.contract.answers import accepted, assert_problem, records, results, row_errors
from tests.live_stack import Api

PEOPLE = "age,city,member\n20,Bonn,true\n30,Kiel,false\n50,Ulm,true\n"

EXPLAINED_AS = {"forest": "prediction", "linear": "prediction", "churn": "decision",
                "boosted": "decision"}  # fmt: skip
"""Models, and the column that `prediction` is the same as."""


@pytest.fixture
def body(request: pytest.FixtureRequest, numbers: pd.DataFrame) -> str:
    """A table for a model."""
    return PEOPLE if request.param == "churn" else numbers.to_csv(index=False)


@pytest.mark.parametrize(("body", "model"), [(m, m) for m in EXPLAINED_AS], indirect=["body"])
def test_base_value_and_contributions_add_up_to_the_prediction(
    api: Api, body: str, model: str
) -> None:
    body = body.replace(",\n", ",0\n") if model == "linear" else body
    features = [f["name"] for f in api.get(f"/models/{model}").json()["signature"]["features"]]
    other = "predict" if EXPLAINED_AS[model] == "prediction" else "decision_function"

    rows = records(api, accepted(api.submit(body, model=model, output="contributions")))
    predicted = records(api, accepted(api.submit(body, model=model, output=other)))

    columns = ["prediction", "base_value", *(f"contribution_{name}" for name in features)]
    assert list(rows[0]) == ["row", *columns, "error"]
    assert len({row["base_value"] for row in rows}) == 1
    for row, other_row in zip(rows, predicted, strict=True):
        assert row["error"] is None
        assert sum(row[name] for name in columns[1:]) == pytest.approx(
            row["prediction"], rel=1e-9, abs=1e-9
        )
        assert row["prediction"] == pytest.approx(other_row[EXPLAINED_AS[model]], rel=1e-9)


def test_a_bad_row_has_none_and_costs_no_other_its_own(api: Api) -> None:
    table = PEOPLE.replace("Kiel", "Rome")

    job = accepted(api.submit(table, model="churn", output="contributions", join="input"))

    first, bad, last = results(api, job)
    assert list(first)[:5] == ["row", "age", "city", "member", "prediction"]
    assert (bad["city"], bad["error"]) == ("Rome", "unknown_category")
    assert not any(bad[name] for name in bad if name.startswith(("contribution", "base", "pred")))
    assert first["contribution_age"]
    assert last["contribution_age"]
    assert [error["column"] for error in row_errors(api, job)] == ["city"]


def test_small_tables_are_explained_in_one_request(api: Api) -> None:
    answer = api.predict("x\n6\n", model="line", output="contributions")

    assert answer.text == "row,prediction,base_value,contribution_x,error\n1,15,9,6,\n"


@pytest.mark.parametrize("model", ["echo", "fussy"])
def test_a_model_that_can_not_be_explained_says_what_it_offers(api: Api, model: str) -> None:
    answer = api.submit("x\n6\n", model=model, output="contributions")

    assert_problem(answer, 422, "invalid_parameter", "'contributions'", "offers predict.")


def test_what_a_model_was_counted_from_is_no_part_of_what_callers_see(
    api: Api, models_dir: Path
) -> None:
    assert "background" in (models_dir / "line/1/manifest.json").read_text()
    assert "background" not in api.get("/models/line").text
