"""Nothing of a foreign file is opened before everything that must be true of it is known."""

import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from shared.errors import ManifestError, ModelLoadError, PublishError
from shared.manifest import ArtifactFormat, Manifest
from shared.model_repository import ModelRepository, file_sha256
from shared.settings import MismatchPolicy
from tests.estimators import Echo
from tests.onnx_graphs import identity
from worker import artifact_loader
from worker.artifact_loader import load_artifact
from worker.model_loader import ModelLoader
from worker.onnx_model import OnnxModel
from worker.publishing import publish
from worker.reasons import first_line

X = pd.DataFrame({"x": [1.0, 2.0, 3.0]})


OF_SCIKIT_LEARN = (ArtifactFormat.SKOPS, ArtifactFormat.JOBLIB)


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(tmp_path)


def publish_line(repository: Path, **options: Any) -> Manifest:
    estimator = LinearRegression().fit(X, [10.0, 20.0, 30.0])
    return publish(estimator, name="line", sample=X, repository=repository, **options)


def publish_echo(repository: Path) -> Manifest:
    types = ["tests.estimators.Echo"]
    return publish(Echo().fit(X), name="echo", sample=X, repository=repository, trusted_types=types)


def publish_graph(repository: Path) -> Manifest:
    model = OnnxModel(identity(shape=("rows", 1)))
    return publish(model, name="graph", sample=X, repository=repository)


def load(repository: ModelRepository, manifest: Manifest, *, allow_pickle: bool = False) -> Any:
    path = repository.artifact_path(manifest)
    return load_artifact(path, manifest, allow_pickle=allow_pickle)


def replaced(repository: ModelRepository, manifest: Manifest, content: bytes) -> Manifest:
    """A manifest that vouches for other content of the artifact, as a forger would write it."""
    path = repository.artifact_path(manifest)
    path.write_bytes(content)
    artifact = manifest.artifact.model_copy(update={"sha256": file_sha256(path)})
    return manifest.model_copy(update={"artifact": artifact})


class Bomb:
    """A pickle that writes a file when it is opened."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("artifact_format", OF_SCIKIT_LEARN)
def test_a_sound_artifact_gives_the_estimator(
    repository: ModelRepository, tmp_path: Path, artifact_format: ArtifactFormat
) -> None:
    manifest = publish_line(tmp_path, artifact_format=artifact_format)

    estimator = load(repository, manifest, allow_pickle=True)

    assert estimator.predict(X).tolist() == pytest.approx([10, 20, 30])


@pytest.mark.parametrize("artifact_format", OF_SCIKIT_LEARN)
@pytest.mark.parametrize("position", [0, 100, -1])
def test_a_single_flipped_bit_is_refused(
    repository: ModelRepository, tmp_path: Path, artifact_format: ArtifactFormat, position: int
) -> None:
    manifest = publish_line(tmp_path, artifact_format=artifact_format)
    content = bytearray(repository.artifact_path(manifest).read_bytes())
    content[position] ^= 1
    repository.artifact_path(manifest).write_bytes(content)

    with pytest.raises(ModelLoadError, match="checksum"):
        load(repository, manifest, allow_pickle=True)


def test_an_artifact_that_is_gone_is_refused(repository: ModelRepository, tmp_path: Path) -> None:
    manifest = publish_line(tmp_path)
    repository.artifact_path(manifest).unlink()

    with pytest.raises(ModelLoadError, match="can't be read"):
        load(repository, manifest)


def test_joblib_is_refused_unless_pickles_are_allowed(
    repository: ModelRepository, tmp_path: Path
) -> None:
    manifest = publish_line(tmp_path, artifact_format=ArtifactFormat.JOBLIB)

    with pytest.raises(ModelLoadError, match="ROWMILL_ALLOW_PICKLE"):
        load(repository, manifest)


def test_joblib_is_opened_if_its_publisher_knew_the_trust_key(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWMILL_TRUST_KEY", "secret")
    manifest = publish_line(tmp_path, artifact_format=ArtifactFormat.JOBLIB)
    path = repository.artifact_path(manifest)

    estimator = load_artifact(path, manifest, allow_pickle=False, trust_key="secret")

    assert estimator.predict(X).tolist() == pytest.approx([10, 20, 30])
    for key in ("", "another"):
        with pytest.raises(ModelLoadError, match="ROWMILL_TRUST_KEY"):
            load_artifact(path, manifest, allow_pickle=False, trust_key=key)


def test_a_stamp_is_good_for_one_model_and_one_file(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWMILL_TRUST_KEY", "secret")
    manifest = publish_line(tmp_path, artifact_format=ArtifactFormat.JOBLIB)

    assert manifest.is_stamped("secret")
    assert not manifest.model_copy(update={"name": "other"}).is_stamped("secret")
    for change in ({"sha256": "0" * 64}, {"format": ArtifactFormat.ONNX}):
        other = manifest.artifact.model_copy(update=change)
        assert not manifest.model_copy(update={"artifact": other}).is_stamped("secret")


def test_nothing_is_stamped_without_a_key(tmp_path: Path) -> None:
    manifest = publish_line(tmp_path, artifact_format=ArtifactFormat.JOBLIB)

    assert (manifest.artifact.stamp, manifest.is_stamped("")) == ("", False)


@pytest.mark.parametrize("policy", list(MismatchPolicy))
def test_a_graph_is_opened_whatever_the_policy(
    repository: ModelRepository, tmp_path: Path, policy: MismatchPolicy
) -> None:
    manifest = publish_graph(tmp_path)
    path = repository.artifact_path(manifest)

    assert load_artifact(path, manifest, allow_pickle=False, on_mismatch=policy)


def test_a_graph_is_opened(repository: ModelRepository, tmp_path: Path) -> None:
    manifest = publish_graph(tmp_path)

    assert load(repository, manifest).predict(X).tolist() == [1, 2, 3]


def test_a_graph_that_was_changed_is_refused(repository: ModelRepository, tmp_path: Path) -> None:
    manifest = publish_graph(tmp_path)
    repository.artifact_path(manifest).write_bytes(identity(shape=("lines", 1)))

    with pytest.raises(ModelLoadError, match="checksum"):
        load(repository, manifest)


def test_what_is_no_graph_is_refused_and_not_run(
    repository: ModelRepository, tmp_path: Path
) -> None:
    trace = tmp_path / "ran"
    manifest = replaced(repository, publish_graph(tmp_path), pickle.dumps(Bomb(trace)))

    with pytest.raises(ModelLoadError, match=r"^'graph/1' can't be opened: onnxruntime") as e:
        load(repository, manifest, allow_pickle=True)

    assert not trace.exists()
    assert str(tmp_path) not in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("allow_pickle", [True, False])
@pytest.mark.parametrize("artifact_format", OF_SCIKIT_LEARN)
def test_a_malicious_pickle_put_in_place_of_an_artifact_never_runs(
    repository: ModelRepository,
    tmp_path: Path,
    artifact_format: ArtifactFormat,
    *,
    allow_pickle: bool,
) -> None:
    manifest = publish_line(tmp_path, artifact_format=artifact_format)
    trace = tmp_path / "ran"
    joblib.dump(Bomb(trace), repository.artifact_path(manifest))

    with pytest.raises(ModelLoadError):
        load(repository, manifest, allow_pickle=allow_pickle)

    assert not trace.exists()


@pytest.mark.parametrize("artifact_format", OF_SCIKIT_LEARN)
def test_a_malicious_pickle_never_runs_even_if_its_manifest_vouches_for_it(
    repository: ModelRepository, tmp_path: Path, artifact_format: ArtifactFormat
) -> None:
    trace = tmp_path / "ran"
    honest = publish_line(tmp_path, artifact_format=artifact_format)
    manifest = replaced(repository, honest, pickle.dumps(Bomb(trace)))

    with pytest.raises(ModelLoadError):
        load(repository, manifest)

    assert not trace.exists()


def test_a_type_that_nobody_vouched_for_is_refused_by_name(
    repository: ModelRepository, tmp_path: Path
) -> None:
    types = ["tests.estimators.Echo"]
    manifest = publish(
        Echo().fit(X), name="echo", sample=X, repository=tmp_path, trusted_types=types
    )
    artifact = manifest.artifact.model_copy(update={"trusted_types": ()})

    with pytest.raises(ModelLoadError, match=r"nobody vouched for: tests\.estimators\.Echo"):
        load(repository, manifest.model_copy(update={"artifact": artifact}))


def test_a_class_of_ones_own_is_loaded_when_it_is_trusted(
    repository: ModelRepository, tmp_path: Path
) -> None:
    types = ["tests.estimators.Echo"]
    manifest = publish(
        Echo().fit(X), name="echo", sample=X, repository=tmp_path, trusted_types=types
    )

    assert load(repository, manifest).predict(X).tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    "file", ["../line/1/model.skops", "/etc/passwd", "..", ".model", "a/b", ""]
)
def test_a_manifest_that_points_outside_its_directory_is_refused(
    repository: ModelRepository, tmp_path: Path, file: str
) -> None:
    publish_line(tmp_path)
    path = tmp_path / "line" / "1" / "manifest.json"
    path.write_text(path.read_text().replace('"model.skops"', f'"{file}"'))

    with pytest.raises(ManifestError):
        repository.resolve("line")


def test_a_manifest_copied_to_another_model_is_refused(
    repository: ModelRepository, tmp_path: Path
) -> None:
    publish_line(tmp_path)
    shutil.copytree(tmp_path / "line" / "1", tmp_path / "other" / "1")

    with pytest.raises(ManifestError, match="says it is 'line/1'"):
        repository.resolve("other")


@pytest.mark.parametrize("artifact_format", OF_SCIKIT_LEARN)
def test_a_model_of_another_scikit_learn_is_refused(
    repository: ModelRepository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    artifact_format: ArtifactFormat,
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("sklearn.base.__version__", "1.0.2")
        manifest = publish_line(tmp_path, artifact_format=artifact_format)

    with pytest.raises(ModelLoadError, match=r"InconsistentVersionWarning.* 1\.0\.2"):
        load(repository, manifest, allow_pickle=True)


def test_opening_a_model_leaves_no_warning_filter_of_another_thread_behind(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The filters belong to the process. Whoever puts back what was there before puts back what
    another thread had for a moment, here one that scores while the model is opened."""
    manifest = publish_line(tmp_path)
    scoring = warnings.catch_warnings()
    scoring.__enter__()
    warnings.simplefilter("error", EncodingWarning)
    open_skops = artifact_loader._open_skops

    def open_while_scoring_ends(*args: Any) -> Any:
        scoring.__exit__(None, None, None)
        return open_skops(*args)

    monkeypatch.setattr(artifact_loader, "_open_skops", open_while_scoring_ends)

    load(repository, manifest)

    assert not [f for f in warnings.filters if f[2] is EncodingWarning]


def test_a_model_of_another_scikit_learn_is_refused_though_another_thread_has_done_scoring(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("sklearn.base.__version__", "1.0.2")
        manifest = publish_line(tmp_path)
    warnings.simplefilter("ignore")
    loader = ModelLoader(repository, allow_pickle=False)
    scoring = warnings.catch_warnings()
    scoring.__enter__()
    open_skops = artifact_loader._open_skops

    def open_when_scoring_ended(*args: Any) -> Any:
        scoring.__exit__(None, None, None)
        return open_skops(*args)

    monkeypatch.setattr(artifact_loader, "_open_skops", open_when_scoring_ended)

    with pytest.raises(ModelLoadError, match="InconsistentVersionWarning"):
        loader.load(manifest)


def test_an_error_is_told_in_one_line_without_the_paths_of_the_server() -> None:
    error = FileNotFoundError("No file /srv/models/line/1/model.skops; 1/2 is no path\nsecond")

    assert first_line(error) == "FileNotFoundError: No file …; 1/2 is no path"


def test_what_the_publisher_does_not_trust_is_not_published(
    repository: ModelRepository, tmp_path: Path
) -> None:
    with pytest.raises(PublishError, match=r"tests\.estimators\.Echo"):
        publish(Echo().fit(X), name="echo", sample=X, repository=tmp_path)

    assert repository.names() == []


def test_what_an_error_says_holds_no_path_of_the_server() -> None:
    error = FileNotFoundError(2, "No such file or directory", "/srv/secret/lookup.csv")

    assert first_line(error) == "FileNotFoundError: [Errno 2] No such file or directory: '…'"
