"""A version of another scikit-learn is refused, or served with a warning, by setting."""

from pathlib import Path

import pandas as pd
import pytest
from sklearn import __version__ as installed
from sklearn.linear_model import LinearRegression

from shared.errors import ModelLoadError
from shared.manifest import Manifest
from shared.model_repository import ModelRepository
from shared.settings import MismatchPolicy
from worker.model_loader import ModelLoader
from worker.publishing import publish

X = pd.DataFrame({"x": [1.0, 2.0, 3.0]})


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """A model that was published long ago."""
    with monkeypatch.context() as earlier:
        earlier.setattr("sklearn.base.__version__", "1.0.2")
        manifest = publish(
            LinearRegression().fit(X, X["x"]), name="line", sample=X, repository=tmp_path
        )
    return manifest.model_copy(update={"libraries": {"scikit-learn": "1.0.2"}})


def loader(repository: Path, policy: MismatchPolicy) -> ModelLoader:
    return ModelLoader(ModelRepository(repository), allow_pickle=False, on_mismatch=policy)


def test_a_model_of_another_version_is_refused_unless_the_operator_bears_it(
    tmp_path: Path, old: Manifest
) -> None:
    with pytest.raises(ModelLoadError, match=r"1\.0\.2"):
        loader(tmp_path, MismatchPolicy.REFUSE).load(old)

    predictor = loader(tmp_path, MismatchPolicy.WARN).load(old)

    assert "trained under scikit-learn 1.0.2" in predictor.warning
    assert f"served by {installed}" in predictor.warning


@pytest.mark.parametrize("policy", list(MismatchPolicy))
def test_of_a_model_of_this_version_there_is_nothing_to_say(
    tmp_path: Path, policy: MismatchPolicy
) -> None:
    new = publish(LinearRegression().fit(X, X["x"]), name="line", sample=X, repository=tmp_path)

    assert loader(tmp_path, policy).load(new).warning == ""
