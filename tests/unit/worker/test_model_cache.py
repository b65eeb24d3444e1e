"""A process opens each model version once, and a broken one costs no other."""

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.ensemble import BaggingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.tree import ExtraTreeRegressor

from shared.errors import ManifestError, ModelLoadError
from shared.manifest import Combination, Manifest, Member
from shared.model_repository import ModelRepository
from tests.estimators import Echo
from tests.model_versions import constant, publish_version
from worker.ensembles import publish_ensemble
from worker.model_cache import ModelCache
from worker.model_loader import ModelLoader
from worker.predictor import Predictor
from worker.publishing import publish

MAX_BYTES = 1024**3
VERSIONS = 10
KB = 1000
"""Less than that is what an estimator without a file takes."""


@pytest.fixture
def repository(models_dir: Path, tmp_path: Path) -> ModelRepository:
    """A copy with two models, to be spoiled."""
    for name in ("line", "echo"):
        shutil.copytree(models_dir / name, tmp_path / name)
    return ModelRepository(tmp_path)


def make_cache(repository: ModelRepository, *, max_bytes: int = MAX_BYTES) -> ModelCache:
    return ModelCache(ModelLoader(repository, allow_pickle=False), max_bytes=max_bytes)


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

    cache.preload(map(repository.resolve, repository.names()))

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


# --- how much is kept


def of_size(manifest: Manifest, size: int) -> Manifest:
    """The manifest of a version whose file is said to have so many bytes."""
    artifact = manifest.artifact.model_copy(update={"bytes": size})
    return manifest.model_copy(update={"artifact": artifact})


class FakeLoader:
    """Opens versions that have no file, and counts how often."""

    def __init__(self, repository: ModelRepository, **sizes: int) -> None:
        self.repository = FakeRepository(repository, sizes)
        self.loaded: list[str] = []

    def load(self, manifest: Manifest, *, opened: Callable[[Member], Predictor]) -> Predictor:  # noqa: ARG002
        self.loaded.append(manifest.name)
        return Predictor(Echo(), manifest)


class FakeRepository:
    """One version of each model, of a known size in KB."""

    def __init__(self, repository: ModelRepository, sizes: dict[str, int]) -> None:
        self._manifest = repository.resolve("echo")
        self._sizes = sizes

    def manifest(self, name: str, version: str) -> Manifest:
        manifest = self._manifest.model_copy(update={"name": name, "version": version})
        return of_size(manifest, self._sizes[name] * KB)


def opened(cache: ModelCache, loader: FakeLoader, *names: str) -> list[str]:
    """What is loaded when these were asked for, the least recently used first."""
    for name in names:
        sha256 = loader.repository.manifest(name, "1").artifact.sha256
        assert cache.get(name, "1", sha256=sha256).manifest.name == name
    return [version_id.partition("/")[0] for version_id in cache.version_ids]


def test_what_was_not_used_for_longest_is_given_up_for_others(
    repository: ModelRepository,
) -> None:
    loader = FakeLoader(repository, a=40, b=40, c=40, d=20)
    cache = ModelCache(loader, max_bytes=100 * KB)

    assert opened(cache, loader, "a", "b") == ["a", "b"]
    assert opened(cache, loader, "a", "c") == ["a", "c"]
    assert opened(cache, loader, "d") == ["a", "c", "d"]
    assert opened(cache, loader, "a", "b") == ["d", "a", "b"]


def test_a_version_that_is_larger_than_the_bound_is_kept_alone(
    repository: ModelRepository,
) -> None:
    loader = FakeLoader(repository, a=40, huge=1000)
    cache = ModelCache(loader, max_bytes=100 * KB)

    assert opened(cache, loader, "a", "huge", "huge") == ["huge"]
    assert opened(cache, loader, "a") == ["a"]
    assert loader.loaded == ["a", "huge", "a"]


def test_a_version_that_was_given_up_is_opened_again_for_its_jobs(
    repository: ModelRepository,
) -> None:
    cache, checksum = make_cache(repository, max_bytes=1), sha256(repository, "line")
    first = cache.get("line", "1", sha256=checksum)
    cache.get("echo", "1", sha256=sha256(repository, "echo"))

    again = cache.get("line", "1", sha256=checksum)

    assert again is not first
    assert again.manifest == first.manifest


def test_a_version_that_is_not_wanted_is_not_even_opened(repository: ModelRepository) -> None:
    loader = FakeLoader(repository, a=40)
    cache = ModelCache(loader, max_bytes=100 * KB)

    for _ in range(2):
        with pytest.raises(ModelLoadError, match="not the version"):
            cache.get("a", "1", sha256="0" * 64)

    assert loader.loaded == []


# --- threads


def test_threads_that_ask_at_the_same_time_open_a_version_once(
    repository: ModelRepository,
) -> None:
    threads = 4
    all_are_here = threading.Barrier(threads)
    cache, checksum = make_cache(repository), sha256(repository, "line")

    def ask(_: int) -> Predictor:
        all_are_here.wait(timeout=10)
        return cache.get("line", "1", sha256=checksum)

    with ThreadPoolExecutor(threads) as pool:
        found = set(map(id, pool.map(ask, range(threads))))

    assert len(found) == 1


def test_a_version_that_takes_long_to_open_keeps_nobody_from_another(
    repository: ModelRepository,
) -> None:
    goes_on = threading.Event()

    class Slow(FakeLoader):
        def load(self, manifest: Manifest, *, opened: Callable[[Member], Predictor]) -> Predictor:
            if manifest.name == "slow":
                assert goes_on.wait(timeout=10)
            return super().load(manifest, opened=opened)

    loader = Slow(repository, slow=1, quick=1)
    cache = ModelCache(loader, max_bytes=100 * KB)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(opened, cache, loader, "slow")
        assert opened(cache, loader, "quick") == ["quick"]
        goes_on.set()

        assert slow.result(timeout=10) == ["quick", "slow"]


def test_a_version_that_failed_to_open_is_tried_again(repository: ModelRepository) -> None:
    cache, checksum = make_cache(repository), sha256(repository, "line")
    path = repository.artifact_path(repository.resolve("line"))
    aside = path.rename(path.with_suffix(".aside"))
    with pytest.raises(ModelLoadError):
        cache.get("line", "1", sha256=checksum)

    aside.rename(path)

    assert cache.get("line", "1", sha256=checksum)


# --- ensembles


@pytest.fixture
def ensemble(tmp_path: Path) -> ModelRepository:
    """The mean of two models."""
    for name, value in (("low", 1.0), ("high", 3.0)):
        publish_version(name, constant(value), tmp_path)
    publish_ensemble(
        ["low", "high"], name="both", combination=Combination.MEAN, repository=tmp_path
    )
    return ModelRepository(tmp_path)


@pytest.mark.parametrize("is_first", [True, False])
def test_an_ensemble_shares_its_members_with_those_who_use_them_alone(
    ensemble: ModelRepository, *, is_first: bool
) -> None:
    cache, checksum = make_cache(ensemble), sha256(ensemble, "low")
    if is_first:
        cache.get("both", "1", sha256=sha256(ensemble, "both"))
    for name in ("low", "high"):
        cache.get(name, "1", sha256=sha256(ensemble, name))
        path = ensemble.artifact_path(ensemble.resolve(name))
        path.unlink()

    cache.get("both", "1", sha256=sha256(ensemble, "both"))

    assert cache.get("low", "1", sha256=checksum)
    assert sorted(cache.version_ids) == ["both/1", "high/1", "low/1"]


def test_a_member_that_was_changed_is_named(ensemble: ModelRepository) -> None:
    path = ensemble.artifact_path(ensemble.resolve("low"))
    path.write_bytes(b"?")

    with pytest.raises(ModelLoadError, match="Member 'low/1' can't be opened"):
        make_cache(ensemble).get("both", "1", sha256=sha256(ensemble, "both"))


# --- memory


@pytest.fixture(scope="module")
def forests(tmp_path_factory: pytest.TempPathFactory) -> ModelRepository:
    """Ten versions of one forest, and an ensemble of the first two."""
    directory = tmp_path_factory.mktemp("forests")
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(5000, 3)), columns=list("abc"))
    tree = ExtraTreeRegressor(max_features=1)
    trees = BaggingRegressor(tree, 10, random_state=0).fit(X, X["a"])
    for number in range(1, VERSIONS + 1):
        text = f"number {number}"
        publish(trees, name="forest", sample=X, repository=directory, description=text)
    members = ["forest:1", "forest:2"]
    publish_ensemble(members, name="mean", combination="mean", repository=directory)
    return ModelRepository(directory)


def open_versions(
    cache: ModelCache, repository: ModelRepository, name: str, *versions: int
) -> None:
    for version in versions:
        manifest = repository.manifest(name, str(version))
        cache.get(name, str(version), sha256=manifest.artifact.sha256)


def cache_for(repository: ModelRepository, *, forests: float) -> ModelCache:
    """A cache with room for so many forests."""
    size = repository.manifest("forest", "1").artifact.bytes
    loader = ModelLoader(repository, allow_pickle=False)
    return ModelCache(loader, max_bytes=round(forests * size))


def test_what_was_preloaded_is_not_given_up_and_does_not_count(forests: ModelRepository) -> None:
    cache = cache_for(forests, forests=2.5)
    cache.preload([forests.manifest("forest", "1"), forests.manifest("forest", "2")])

    open_versions(cache, forests, "forest", 3, 4, 5)

    assert cache.version_ids == ["forest/1", "forest/2", "forest/4", "forest/5"]


def test_an_ensemble_counts_for_the_members_that_it_keeps(forests: ModelRepository) -> None:
    cache = cache_for(forests, forests=3.5)

    open_versions(cache, forests, "mean", 1)
    open_versions(cache, forests, "forest", 3)
    assert cache.version_ids == ["mean/1", "forest/1", "forest/2", "forest/3"]

    # Its members can't go before it, and are of use without it.
    open_versions(cache, forests, "forest", 4)
    assert cache.version_ids == ["forest/2", "forest/3", "forest/4"]


def test_an_ensemble_that_is_too_large_is_kept_alone(forests: ModelRepository) -> None:
    cache = cache_for(forests, forests=1.5)

    open_versions(cache, forests, "mean", 1)

    assert cache.version_ids == ["mean/1"]


def test_the_memory_of_versions_given_up_goes_back_to_the_system(forests: ModelRepository) -> None:
    cache = cache_for(forests, forests=2.5)
    open_versions(cache, forests, "forest", 1, 2)
    size = forests.manifest("forest", "1").artifact.bytes
    before = own_bytes()

    open_versions(cache, forests, "forest", *range(3, VERSIONS + 1))

    assert own_bytes() - before < size


def own_bytes() -> int:
    """What is mapped of no file; pages of files are this process's own whenever others end."""
    memory = psutil.Process().memory_info()
    return int(memory.rss - memory.shared)
