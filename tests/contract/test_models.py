"""Models as callers see them."""

import tempfile
from datetime import datetime

import pytest

from tests.contract.answers import accepted, assert_problem
from tests.live_stack import ROOT, Api

MEMBERS = ["name", "version", "latest", "aliases", "versions", "comparisons", "description",
           "created_at", "artifact", "ensemble", "signature", "metrics", "libraries"]  # fmt: skip

NAMES = {"forest", "line", "linear", "churn", "boosted", "echo", "slow", "fussy"}


def test_all_models_are_listed_by_name(api: Api) -> None:
    models = api.get("/models").json()["models"]

    names = [model["name"] for model in models]
    assert set(names) >= NAMES
    assert names == sorted(names)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_model_is_shown_alone_as_in_the_list(api: Api, name: str) -> None:
    alone = api.get(f"/models/{name}").json()

    listed = {model["name"]: model for model in api.get("/models").json()["models"]}
    assert alone == listed[name]
    assert list(alone) == MEMBERS


def test_a_model_tells_what_it_is_and_what_it_was_trained_under(api: Api) -> None:
    model = api.get("/models/line").json()

    assert (model["version"], model["latest"], model["aliases"]) == ("1", "1", {})
    assert [version["version"] for version in model["versions"]] == ["1"]
    assert (model["artifact"]["format"], len(model["artifact"]["sha256"])) == ("skops", 64)
    assert datetime.fromisoformat(model["created_at"]).tzinfo is not None
    assert {"python", "scikit-learn", "numpy"} <= model["libraries"].keys()


def test_a_version_can_be_named(api: Api) -> None:
    assert api.get("/models/line:1").json() == api.get("/models/line").json()


def test_the_signature_says_what_each_feature_takes(api: Api) -> None:
    features = api.get("/models/churn").json()["signature"]["features"]

    age, city, member = features
    assert (age["name"], age["dtype"], age["nullable"]) == ("age", "int64", False)
    assert (age["minimum"], age["maximum"], age["example"]) == (20, 50, 20)
    assert (city["dtype"], city["categories"]) == ("string", ["Bonn", "Kiel", "Ulm"])
    assert city["accepts_unseen"] is False
    assert (member["dtype"], member["example"]) == ("bool", True)


@pytest.mark.parametrize(("name", "nullable"), [("forest", True), ("linear", False)])
def test_the_signature_says_whether_values_may_be_missing(
    api: Api, name: str, nullable: bool
) -> None:
    features = api.get(f"/models/{name}").json()["signature"]["features"]

    assert {feature["nullable"] for feature in features} == {nullable}


def test_the_signature_says_what_a_model_can_be_asked_for(api: Api) -> None:
    outputs = api.get("/models/churn").json()["signature"]["outputs"]

    assert outputs == {
        "predict": [{"name": "prediction", "dtype": "string"}],
        "predict_proba": [
            {"name": "proba_go", "dtype": "float64"},
            {"name": "proba_stay", "dtype": "float64"},
        ],
        "decision_function": [{"name": "decision", "dtype": "float64"}],
        "contributions": [
            {"name": "prediction", "dtype": "float64"},
            {"name": "base_value", "dtype": "float64"},
            {"name": "contribution_age", "dtype": "float64"},
            {"name": "contribution_city", "dtype": "float64"},
            {"name": "contribution_member", "dtype": "float64"},
        ],
    }


def test_a_model_tells_nothing_of_the_servers_paths(api: Api) -> None:
    text = api.get("/models").text

    assert str(ROOT) not in text
    assert tempfile.gettempdir() not in text
    assert "trusted_types" not in text


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_template_is_a_csv_that_can_be_scored_as_it_is(api: Api, name: str) -> None:
    answer = api.get(f"/models/{name}/template.csv")

    job = accepted(api.submit(answer.content, model=name))
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert (job["status"], job["counts"]["total"]) == ("succeeded", 1)


@pytest.mark.parametrize("path", ["/models/nope", "/models/nope/template.csv"])
def test_an_unknown_model_is_answered_with_those_there_are(api: Api, path: str) -> None:
    assert_problem(api.get(path), 404, "model_not_found", "'nope'", "line")


@pytest.mark.parametrize("reference", ["line:2", "line:x", "LINE", "a b", "line:1:1", ".."])
def test_a_bad_reference_is_answered_with_what_would_be_good(api: Api, reference: str) -> None:
    answer = api.get(f"/models/{reference}/template.csv" if reference != ".." else "/models/%2e%2e")

    assert answer.status_code == 404
    assert answer.json()["code"] in {"model_not_found", "not_found"}
    assert str(ROOT) not in answer.text
