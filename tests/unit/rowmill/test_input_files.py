"""Which files some arguments mean, and where their predictions go."""

from pathlib import Path

import pytest

from rowmill.errors import SourceError
from rowmill.input_files import input_files, is_output, target_in


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with some files, which is the current one."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "d/b.csv",
        "d/a.parquet",
        "d/c.JSONL.gz",
        "d/notes.txt",
        "d/.hidden.csv",
        "e/[1].csv",
    ):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("x\n1\n")
    Path("d/sub.csv").mkdir()
    Path("empty").mkdir()
    return tmp_path


def test_a_directory_means_its_tables_in_order(here):
    found = input_files(["d"])

    assert found.names == ("d/a.parquet", "d/b.csv", "d/c.JSONL.gz")
    assert not found.is_one


@pytest.mark.parametrize("argument", ["-", "d/b.csv", "d/notes.txt", "e/[1].csv"])
def test_one_file_is_one_whatever_its_name(here, argument):
    found = input_files([argument])

    assert (found.names, found.is_one) == ((argument,), True)


def test_patterns_mean_files_and_each_file_is_meant_once(here):
    found = input_files(["d/b.csv", "d/*", "**/b.csv"])

    assert found.names == ("d/b.csv", "d/a.parquet", "d/c.JSONL.gz", "d/notes.txt")


def test_outputs_of_an_earlier_run_are_left_out(here):
    Path("d/b.predictions.csv").touch()
    Path("d/a.predictions.parquet").touch()

    found = input_files(["d"])

    assert found.names == ("d/a.parquet", "d/b.csv", "d/c.JSONL.gz")
    assert found.skipped == ("d/a.predictions.parquet", "d/b.predictions.csv")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.csv"], "Can't read 'nowhere.csv': it does not exist; give a file, a direct"),
        (["d/*.arrow"], r"Can't read 'd/\*.arrow': no file matches it\."),
        (["empty"], r"Can't read 'empty': it holds no \*.csv, .* or \*.gz of them"),
        (["d/b.csv", "-"], "Can't read stdin: it can't be one of several"),
        (["e", "out"], "Can't read 'out': it does not exist"),
    ],
)
def test_what_means_nothing_is_told(here, arguments, said):
    with pytest.raises(SourceError, match=said):
        input_files(arguments)


def test_a_directory_of_outputs_alone_is_nothing_to_score(here):
    Path("empty/b.predictions.csv").touch()

    with pytest.raises(SourceError, match="only outputs of an earlier run"):
        input_files(["empty"])


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("d/b.csv", "out/b.predictions.json"),
        ("d/b.csv.gz", "out/b.predictions.json"),
        ("b.2024.parquet", "out/b.2024.predictions.json"),
        ("b", "out/b.predictions.json"),
    ],
)
def test_predictions_are_named_after_their_input_and_known_again(name, target):
    found = target_in(Path("out"), name, "json")

    assert str(found) == target
    assert is_output(target)
    assert not is_output(name)
