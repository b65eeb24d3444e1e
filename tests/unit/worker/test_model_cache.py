"""A process opens each model version once, and a broken one costs no other."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from shared.errors import ManifestError, ModelLoadError
from shared.model_repository import ModelRepository
from worker.model_cache import ModelCache
from worker.model_loader import ModelLoader
from worker.publishing import publish

MAX_BYTES = 1024**3


@pytest.fixture
def repository(models_dir: Path, tmp_path: Path) -> ModelRepository:
    """A copy with two models, to be spoiled."""
    for name in ("line", "echo"):
        shutil.copytree(models_dir / name, tmp_path / name)
    return ModelRepository(tmp_path)


def make_cache(repository: ModelRepository) -> ModelCache:
    return ModelCache(ModelLoader(repository, allow_pickle=False), max_bytes=MAX_BYTES)


def sha256(repository: ModelRepository, name: str) -> str:
    return repository.resolve(name).artifact.sha256


def test_a_version_is_opened_once(repository: ModelRepository) -> None:
    cache, checksum = make_cache(repository), sha256(repository, "line")
    first = cache.get("line", "1", sha256=checksum)
    repository.artifact_path(first.manifest).unlink()

    assert cache.get("line", "1", sha256=checksum) is first


def test_a_preloaded_version_is_not_opened_again(repository: ModelRepository) -> None:
    cache, checksum = make_cache(repository), sha256(repository, "line")
    cache.preload([repository.resolve("line")])
    repository.artifact_path(repository.resolve("line")).unlink()

    assert cache.get("line", "1", sha256=checksum).manifest.version_id == "line/1"


def test_a_model_that_can_not_be_opened_keeps_no_other_from_being_loaded(
    repository: ModelRepository,
) -> None:
    checksum = sha256(repository, "line")
    repository.artifact_path(repository.resolve("echo")).write_bytes(b"?")
    cache = make_cache(repository)

    cache.preload(repository.newest())

    assert cache.get("line", "1", sha256=checksum)
    with pytest.raises(ModelLoadError, match="echo/1"):
        cache.get("echo", "1", sha256=sha256(repository, "echo"))


def test_a_version_that_is_not_the_one_the_job_was_made_for_is_refused(
    repository: ModelRepository,
) -> None:
    with pytest.raises(ModelLoadError, match="not the version"):
        make_cache(repository).get("line", "1", sha256="0" * 64)


def test_a_version_that_was_replaced_on_disk_is_opened_again(repository: ModelRepository) -> None:
    cache, old = make_cache(repository), sha256(repository, "line")
    cache.get("line", "1", sha256=old)
    replace_line(repository)

    new = cache.get("line", "1", sha256=sha256(repository, "line"))

    assert new.manifest.artifact.sha256 != old


def replace_line(repository: ModelRepository) -> None:
    """Delete the only version and publish another model under its number."""
    home = repository.artifact_path(repository.resolve("line")).parent.parent
    shutil.rmtree(home)
    X = pd.DataFrame({"x": [1.0, 2.0]})
    estimator = LinearRegression().fit(X, [2.0, 4.0])
    publish(estimator, name="line", sample=X, repository=home.parent)


def test_a_version_that_is_not_there_is_refused(repository: ModelRepository) -> None:
    with pytest.raises(ManifestError, match="line/99"):
        make_cache(repository).get("line", "99", sha256="0" * 64)
