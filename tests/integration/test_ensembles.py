"""An ensemble that is published while the stack runs is served like any model."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shared.manifest import Manifest
from shared.model_repository import ModelRepository
from shared.signature import OutputKind
from tests.live_stack import Api
from worker.ensembles import publish_ensemble
from worker.model_loader import ModelLoader


@pytest.fixture(scope="module")
def both(api: Api, models_dir: Path) -> Manifest:
    """The mean of two models, published beside a running worker."""
    members = ["forest", "linear"]
    return publish_ensemble(members, name="both", combination="mean", repository=models_dir)


def test_its_predictions_are_those_of_its_members_combined(
    api: Api, both: Manifest, models_dir: Path, numbers: pd.DataFrame
) -> None:
    job = api.submit(numbers.to_csv(index=False), model="both").json()

    repository = ModelRepository(models_dir)
    loader = ModelLoader(repository, allow_pickle=False)
    expected = []
    for name in ("forest", "linear"):
        member = loader.load(repository.resolve(name))
        rows = numbers[list(member.manifest.signature.feature_names)]
        expected.append(member.predict(rows, OutputKind.PREDICT).columns[0])
    scored = pd.read_csv(io.StringIO(api.get(job["urls"]["results"]).text))
    assert job["status"] == "succeeded"
    assert job["model"]["sha256"] == both.artifact.sha256
    assert scored["prediction"].to_numpy() == pytest.approx(np.mean(expected, axis=0), rel=1e-9)


def test_a_row_that_does_not_fit_one_member_is_a_row_error(api: Api, both: Manifest) -> None:
    job = api.submit("a,b,c\n1,2,\n1,,3\n", model="both").json()

    assert job["counts"] == {"total": 2, "succeeded": 1, "failed": 1, "pending": 0}
    assert ",b,missing_value," in api.get(job["urls"]["errors"]).text


def test_it_is_shown_like_any_model(api: Api, both: Manifest) -> None:
    model = api.get("/models/both").json()

    assert (model["artifact"]["format"], model["description"]) == (
        "ensemble",
        "Mean of forest/1, linear/1.",
    )
    assert [f["name"] for f in model["signature"]["features"]] == ["a", "b", "c"]
    assert "both" in [listed["name"] for listed in api.get("/models").json()["models"]]
    template = api.get("/models/both/template.csv").content
    assert api.submit(template, model="both").json()["status"] == "succeeded"
