"""A CSV goes in, predictions come out: through real processes, compared with the model itself."""

import io

import pandas as pd
import pytest

from tests.live_stack import Api


def predictions(api: Api, job: dict) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(api.get(job["urls"]["results"]).text))


def test_a_csv_is_scored_like_the_model_itself_would(api: Api) -> None:
    job = api.submit("x\n6\n7\n", model="line").json()

    assert job["status"] == "succeeded"
    assert job["counts"] == {"total": 2, "succeeded": 2, "failed": 0, "pending": 0}
    assert predictions(api, job)["prediction"].tolist() == pytest.approx([15, 17])
