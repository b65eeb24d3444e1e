"""What the repository keeps of what it read holds for exactly as long as the disk says so."""

import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ManifestError, ModelNotFoundError
from shared.manifest import ArtifactFormat, Manifest
from shared.model_repository import MANIFEST_FILE, ModelRepository
from shared.repository_editor import RepositoryEditor
from tests.factories import make_manifest


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """A repository with model `echo` in version 1, as it was left some time ago."""
    publish(ModelRepository(tmp_path))
    settle(tmp_path)
    return ModelRepository(tmp_path)


def publish(repository: ModelRepository, name: str = "echo", **changes: Any) -> Manifest:
    """A version by the way that `publish` takes."""

    def write(path: Path) -> tuple[str, ...]:
        path.write_bytes(secrets.token_bytes())
        return ()

    return RepositoryEditor(repository).publish(
        name,
        write,
        artifact_format=ArtifactFormat.SKOPS,
        describe=lambda version, artifact: make_manifest(
            name=name, version=version, artifact=artifact, **changes
        ),
    )


def settle(root: Path, *, seconds: int = 60) -> None:
    """Let everything have been changed last so long ago."""
    at = time.time_ns() - seconds * 10**9
    for path in sorted([root, *root.rglob("*")], reverse=True):
        os.utime(path, ns=(at, at))


def manifest_path(root: Path, version: str = "1") -> Path:
    return root / "echo" / version / MANIFEST_FILE


def describe(root: Path, description: str, version: str = "1") -> None:
    """Write the manifest of a version anew."""
    manifest = make_manifest(version=version, description=description)
    manifest_path(root, version).write_text(manifest.model_dump_json())


def test_what_has_not_changed_is_read_once(
    repository: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = repository.resolve("echo")
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} read again"))
    monkeypatch.setattr(Path, "iterdir", lambda path: pytest.fail(f"{path} listed again"))

    assert repository.resolve("echo") is repository.resolve("echo:1") is first


def test_a_new_version_is_seen_at_once(repository: ModelRepository) -> None:
    for version in "2345":
        assert repository.resolve("echo").version == str(int(version) - 1)

        publish(repository)

        assert repository.resolve("echo").version == version
        assert repository.versions("echo")[-1] == version


def test_a_version_of_another_process_is_seen_at_once(
    repository: ModelRepository, tmp_path: Path
) -> None:
    for version in "234":
        repository.resolve("echo")
        publish(ModelRepository(tmp_path))
        assert repository.resolve("echo").version == version
        settle(tmp_path, seconds=60 - int(version))


def test_a_new_model_is_seen_at_once(repository: ModelRepository) -> None:
    assert repository.names() == ["echo"]
    with pytest.raises(ModelNotFoundError):
        repository.resolve("line")

    publish(repository, "line")

    assert repository.names() == ["echo", "line"]
    assert repository.resolve("line").version == "1"


def test_a_version_that_is_copied_file_by_file_is_seen_when_it_is_there(
    repository: ModelRepository, tmp_path: Path
) -> None:
    """Its directory is there long before its manifest, which changes the model's no more."""
    (tmp_path / "echo/2").mkdir()
    settle(tmp_path)
    assert repository.resolve("echo").version == "1"

    describe(tmp_path, "", version="2")

    assert repository.resolve("echo").version == "2"


@pytest.mark.parametrize("was_settled", [True, False])
def test_a_manifest_that_is_changed_on_disk_is_read_again(
    repository: ModelRepository, tmp_path: Path, *, was_settled: bool
) -> None:
    if not was_settled:
        describe(tmp_path, "zero")
    for description in ("one", "two", "three"):
        repository.resolve("echo")

        describe(tmp_path, description)

        assert repository.resolve("echo").description == description


def test_changes_within_a_tick_of_the_clock_are_seen(
    repository: ModelRepository, tmp_path: Path
) -> None:
    """A file system may give two changes the same time, and a busy machine lets it pass."""
    soon = time.time_ns() + 60 * 10**9
    for description in ("one", "two"):
        describe(tmp_path, description)
        os.utime(manifest_path(tmp_path), ns=(soon, soon))

        assert repository.resolve("echo").description == description


def test_a_manifest_that_is_broken_on_disk_is_not_trusted(
    repository: ModelRepository, tmp_path: Path
) -> None:
    repository.resolve("echo")

    manifest_path(tmp_path).write_text("{")

    with pytest.raises(ManifestError):
        repository.resolve("echo")
    describe(tmp_path, "mended")
    assert repository.resolve("echo").description == "mended"


def test_a_version_that_is_taken_away_is_not_found(
    repository: ModelRepository, tmp_path: Path
) -> None:
    publish(repository)
    settle(tmp_path)
    assert repository.resolve("echo").version == "2"

    shutil.rmtree(tmp_path / "echo/2")

    assert repository.resolve("echo").version == "1"
    with pytest.raises(ModelNotFoundError, match="it has 1"):
        repository.resolve("echo:2")
    shutil.rmtree(tmp_path / "echo")
    with pytest.raises(ModelNotFoundError):
        repository.resolve("echo")
    assert repository.names() == []


def test_an_older_version_that_is_put_in_the_place_of_a_newer_one_is_read(
    repository: ModelRepository, tmp_path: Path
) -> None:
    """Backups come back with the times they had."""
    describe(tmp_path, "new")
    settle(tmp_path, seconds=30)
    assert repository.resolve("echo").description == "new"

    describe(tmp_path, "old")
    settle(tmp_path, seconds=90)

    assert repository.resolve("echo").description == "old"


def test_a_file_in_the_place_of_a_model_is_no_model(
    repository: ModelRepository, tmp_path: Path
) -> None:
    (tmp_path / "notes").write_text("Not a model.")

    assert repository.names() == ["echo"]
    with pytest.raises(ModelNotFoundError, match="'notes'"):
        repository.resolve("notes")
