"""Aliases move and versions go, each in one step for who reads."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.aliases import Alias
from shared.errors import AliasError, ManifestError, ModelNotFoundError
from shared.model_repository import ModelRepository
from shared.repository_editor import RepositoryEditor
from tests.unit.shared.test_model_repository import publish


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """A repository with three versions of model `echo`."""
    repository = ModelRepository(tmp_path)
    for _ in range(3):
        publish(repository)
    return repository


@pytest.fixture
def editor(repository: ModelRepository) -> RepositoryEditor:
    return RepositoryEditor(repository)


def to(version: str, *, weight: float | None = None, shadow: bool = False) -> Alias:
    return Alias(version=version, weight=weight, shadow=shadow)


def test_an_alias_means_the_version_it_points_to(
    repository: ModelRepository, editor: RepositoryEditor
) -> None:
    for version in ("2", "1", "3"):
        editor.set_alias("echo", "stable", to(version))

        assert repository.resolve("echo@stable").version == version


def test_a_name_alone_means_the_champion_or_the_newest_version(
    repository: ModelRepository, editor: RepositoryEditor
) -> None:
    assert repository.resolve("echo").version == "3"
    editor.set_alias("echo", "champion", to("1"))
    assert repository.resolve("echo").version == "1"
    editor.set_alias("echo", "champion", None)
    assert repository.resolve("echo").version == "3"


def test_a_name_alone_does_not_mean_a_shadow_or_a_canary(
    repository: ModelRepository, editor: RepositoryEditor
) -> None:
    editor.set_alias("echo", "challenger", to("3", shadow=True))
    assert repository.resolve("echo").version == "2"

    editor.set_alias("echo", "canary", to("2", weight=0.1))
    assert repository.resolve("echo").version == "1"


@pytest.mark.parametrize(
    ("alias", "target", "words"),
    [
        ("champion", to("9"), "no version '9'"),
        ("nobody", None, "no alias 'nobody'"),
        ("Bad Name", to("1"), "no model reference"),
    ],
)
def test_an_alias_that_leads_nowhere_is_refused(
    editor: RepositoryEditor, alias: str, target: Alias | None, words: str
) -> None:
    with pytest.raises(ModelNotFoundError, match=words):
        editor.set_alias("echo", alias, target)


def test_weights_of_more_than_everything_are_refused(
    repository: ModelRepository, editor: RepositoryEditor
) -> None:
    editor.set_alias("echo", "a", to("1", weight=0.7))

    with pytest.raises(AliasError, match="add up to more than 1"):
        editor.set_alias("echo", "b", to("2", weight=0.4))

    assert list(repository.aliases("echo").root) == ["a"]


def test_aliases_set_at_the_same_time_are_all_there(
    repository: ModelRepository, editor: RepositoryEditor
) -> None:
    names = [f"alias-{number}" for number in range(20)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: editor.set_alias("echo", name, to("1")), names))

    assert sorted(repository.aliases("echo").root) == sorted(names)


def test_a_broken_file_of_aliases_is_an_error_and_no_guess(
    repository: ModelRepository, tmp_path: Path
) -> None:
    (tmp_path / "echo/aliases.json").write_text("{")

    with pytest.raises(AliasError, match="'echo'"):
        repository.resolve("echo")
    assert repository.resolve("echo:1").version == "1"


def test_a_file_of_aliases_that_breaks_changes_nothing_for_who_knew_it(
    repository: ModelRepository, editor: RepositoryEditor, tmp_path: Path
) -> None:
    editor.set_alias("echo", "champion", to("2"))
    assert repository.resolve("echo").version == "2"

    (tmp_path / "echo/aliases.json").write_text("{")

    assert repository.resolve("echo").version == "2"


def test_a_broken_file_of_aliases_is_mended_by_setting_one(tmp_path: Path) -> None:
    publish(ModelRepository(tmp_path))
    (tmp_path / "echo/aliases.json").write_text("{")

    RepositoryEditor(ModelRepository(tmp_path)).set_alias("echo", "champion", to("1"))

    assert list(ModelRepository(tmp_path).aliases("echo").root) == ["champion"]


def test_an_alias_whose_version_is_gone_can_be_taken_away(
    repository: ModelRepository, editor: RepositoryEditor, tmp_path: Path
) -> None:
    editor.set_alias("echo", "champion", to("2"))
    shutil.rmtree(tmp_path / "echo/2")

    assert editor.set_alias("echo", "champion", None).root == {}
    assert repository.resolve("echo").version == "3"


@pytest.mark.parametrize("name", ["nothing", "Bad Name"])
def test_a_model_that_is_not_there_has_no_aliases_to_set(
    editor: RepositoryEditor, name: str
) -> None:
    with pytest.raises(ModelNotFoundError):
        editor.set_alias(name, "champion", to("1"))


def test_the_number_of_a_version_that_was_removed_is_not_given_again(
    repository: ModelRepository, editor: RepositoryEditor
) -> None:
    editor.remove("echo", "3")

    assert publish(repository).version == "4"
    assert repository.versions("echo") == ["1", "2", "4"]


def test_a_version_is_removed_with_all_its_files(
    repository: ModelRepository, editor: RepositoryEditor, tmp_path: Path
) -> None:
    editor.remove("echo", "2")

    assert repository.versions("echo") == ["1", "3"]
    assert sorted(os.listdir(tmp_path / "echo")) == [".removed-2", "1", "3"]
    with pytest.raises(ModelNotFoundError, match="it has 1, 3"):
        editor.remove("echo", "2")


def test_a_version_that_an_alias_points_to_is_not_removed(
    repository: ModelRepository, editor: RepositoryEditor
) -> None:
    editor.set_alias("echo", "champion", to("2"))

    with pytest.raises(AliasError, match="is its champion"):
        editor.remove("echo", "2")

    assert repository.versions("echo") == ["1", "2", "3"]


def test_an_artifact_that_is_a_link_out_of_its_directory_is_refused(
    repository: ModelRepository, tmp_path: Path
) -> None:
    manifest = repository.resolve("echo:1")
    path = repository.artifact_path(manifest)
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)

    with pytest.raises(ManifestError, match="outside"):
        repository.artifact_path(manifest)
