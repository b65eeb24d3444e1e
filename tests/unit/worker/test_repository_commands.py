"""`rowmill models publish|alias|verify|remove` on a repository of their own."""

import importlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import joblib
import pandas as pd
import pytest
import skops.io
from click.testing import CliRunner, Result
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from shared.aliases import Alias
from shared.manifest import ArtifactFormat, Manifest
from shared.model_repository import ModelRepository, file_sha256
from shared.repository_editor import RepositoryEditor
from tests.estimators import Echo
from tests.onnx_graphs import exported
from worker import repository_commands
from worker.publishing import publish

X = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [0.5, 0.1, 0.9, 0.3]})
Y = [1.0, 2.0, 3.0, 4.5]

Run = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory like the root of a clone, which commands are run in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    X.to_csv("sample.csv", index=False)
    return tmp_path


@pytest.fixture
def run(home: Path) -> Run:
    def run(command: str, *arguments: str, **variables: str) -> Result:
        found: click.Command = getattr(repository_commands, command)
        env = {f"ROWMILL_{name.upper()}": value for name, value in variables.items()}
        result = CliRunner().invoke(found, arguments, env=env)
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result

    return run


def fitted(names: bool = True) -> LinearRegression:
    return LinearRegression().fit(X if names else X.to_numpy(), Y)


def add(version: float = 1, **options: Any) -> Manifest:
    """A version of `churn` that predicts this number."""
    constant = DummyRegressor(strategy="constant", constant=float(version)).fit(X, Y)
    return publish(constant, name="churn", sample=X, repository=Path("models"), **options)


def told(result: Result) -> str:
    """The one line that a command that failed has said."""
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(r"Error: [^\n]+\n", result.stderr)
    return result.stderr


PUBLISH = ("--name", "churn", "--sample", "sample.csv")


# --- publish


def write_joblib(path: Path) -> None:
    joblib.dump(fitted(), path)


def write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(fitted()))


def write_skops(path: Path) -> None:
    skops.io.dump(fitted(), path)


def write_onnx(path: Path) -> None:
    path.write_bytes(exported(fitted(), 2))


@pytest.mark.parametrize(
    ("file", "write", "artifact_format"),
    [
        ("model.joblib", write_joblib, "skops"),
        ("model.pkl", write_pickle, "skops"),
        ("model.pickle", write_pickle, "skops"),
        ("model.skops", write_skops, "skops"),
        ("model.onnx", write_onnx, "onnx"),
    ],
)
def test_a_file_is_published_once(
    run: Run, home: Path, file: str, write: Callable[[Path], None], artifact_format: str
) -> None:
    write(home / file)

    first = run("publish", file, *PUBLISH, "--metric", "r2=0.93", "--description", "Who leaves.")
    again = run("publish", file, *PUBLISH, "--metric", "r2=0.93", "--description", "Who leaves.")

    assert (first.exit_code, first.stdout) == (0, "published churn/1\n")
    assert (again.exit_code, again.stdout) == (0, "unchanged churn/1\n")
    manifest = ModelRepository(home / "models").resolve("churn")
    assert manifest.artifact.format == artifact_format
    assert manifest.signature.feature_names == ("a", "b")
    assert (manifest.metrics, manifest.description) == ({"r2": 0.93}, "Who leaves.")


def test_a_pipeline_of_commands_reads_json(run: Run, home: Path) -> None:
    write_joblib(home / "model.joblib")

    document = json.loads(
        run("publish", "model.joblib", *PUBLISH, "--alias", "champion", "--json").stdout
    )

    sha256 = ModelRepository(home / "models").resolve("churn").artifact.sha256
    assert document == {
        "name": "churn",
        "version": "1",
        "status": "published",
        "sha256": sha256,
        "aliases": ["champion"],
    }


def test_aliases_are_moved_to_what_is_published_and_keep_their_weight(run: Run, home: Path) -> None:
    add(1)
    canary = Alias(version="1", weight=0.1)
    RepositoryEditor(ModelRepository(home / "models")).set_alias("churn", "canary", canary)
    write_joblib(home / "model.joblib")

    result = run("publish", "model.joblib", *PUBLISH, "--alias", "champion", "--alias", "canary")

    assert result.stdout.splitlines() == [
        "published churn/2",
        "churn@champion → 2",
        "churn@canary → 2",
    ]
    aliases = ModelRepository(home / "models").aliases("churn").model_dump()
    assert aliases == {"champion": "2", "canary": {"version": "2", "weight": 0.1}}


@pytest.mark.parametrize("options", [(), ("--alias", "champion")])
def test_aliases_that_can_not_be_read_keep_nothing_from_being_published(
    run: Run, home: Path, options: tuple[str, ...]
) -> None:
    add()
    (home / "models/churn/aliases.json").write_text("{")
    write_joblib(home / "model.joblib")

    result = run("publish", "model.joblib", *PUBLISH, *options)

    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "published churn/2")


def test_the_sample_may_have_more_columns_in_another_order(run: Run, home: Path) -> None:
    write_joblib(home / "model.joblib")
    X.assign(left=["yes", "no", "no", "yes"])[["left", "b", "a"]].to_csv("sample.csv", index=False)

    assert run("publish", "model.joblib", *PUBLISH).exit_code == 0
    manifest = ModelRepository(home / "models").resolve("churn")
    assert manifest.signature.feature_names == ("a", "b")


def test_output_names_format_and_classes_are_passed_on(run: Run, home: Path) -> None:
    joblib.dump(fitted(), "model.joblib")
    graph = exported(LogisticRegression().fit(X, [0, 1, 0, 1]), 2, zipmap=False)
    (home / "net.onnx").write_bytes(graph)

    run("publish", "model.joblib", *PUBLISH, "--output-name", "risk", "--format", "joblib")
    classes = ("--class", "stay", "--class", "go")
    run("publish", "net.onnx", "--name", "net", "--sample", "sample.csv", *classes)

    repository = ModelRepository(home / "models")
    churn, net = repository.resolve("churn"), repository.resolve("net")
    assert churn.artifact.format is ArtifactFormat.JOBLIB
    assert [column.name for column in churn.signature.outputs["predict"]] == ["risk"]
    names = [column.name for column in net.signature.outputs["predict_proba"]]
    assert names == ["proba_stay", "proba_go"]


def test_a_class_of_a_module_in_this_directory_is_found_as_workers_find_it(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from sklearn.linear_model import Ridge\nclass Steep(Ridge):\n    pass\n"
    (home / "own_models.py").write_text(source)
    with monkeypatch.context() as there:
        there.syspath_prepend(home)
        own = importlib.import_module("own_models")
        joblib.dump(own.Steep().fit(X, Y), "model.joblib")
    monkeypatch.delitem(sys.modules, "own_models")

    refused = run("publish", "model.joblib", *PUBLISH)
    taken = run("publish", "model.joblib", *PUBLISH, "--trust", "own_models.Steep")

    assert "own_models.Steep" in told(refused)
    assert "--trust" in told(refused)
    assert taken.stdout == "published churn/1\n"
    sys.modules.pop("own_models", None)


def test_types_in_a_skops_file_must_be_vouched_for(run: Run, home: Path) -> None:
    skops.io.dump(Echo().fit(X.rename(columns={"a": "x"})), "model.skops")
    X.rename(columns={"a": "x"}).to_csv("sample.csv", index=False)

    refused = run("publish", "model.skops", *PUBLISH)
    taken = run("publish", "model.skops", *PUBLISH, "--trust", "tests.estimators.Echo")

    assert "model.skops holds types that nobody vouches for: tests.estimators.Echo." in told(
        refused
    )
    assert taken.stdout == "published churn/1\n"


def test_a_model_of_another_scikit_learn_is_refused(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("sklearn.base.__version__", "1.0.2")
        write_joblib(home / "model.joblib")

    message = told(run("publish", "model.joblib", *PUBLISH))

    assert "model.joblib was saved by scikit-learn 1.0.2, and this is 1." in message
    assert "train it again" in message


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.joblib", b"nothing of the kind", "model.joblib can't be opened"),
        ("model.pkl", pickle.dumps({"model": 1}), "dict has neither predict nor transform"),
        (
            "model.pkl",
            b"cnowhere\nThing\n.",
            "No module named 'nowhere'. Its classes and functions",
        ),
        ("model.pkl", b"c__main__\nThing\n.", "not in the script that made it"),
        ("model.skops", b"PK", "model.skops can't be opened"),
        ("model.onnx", b"\x00\x01", "onnx"),
        ("model.txt", b"text", "model.txt is no .joblib, .pkl, .skops or .onnx file"),
    ],
)
def test_a_file_that_is_no_model_is_refused(
    run: Run, home: Path, file: str, content: bytes, message: str
) -> None:
    (home / file).write_bytes(content)

    assert message in told(run("publish", file, *PUBLISH))
    assert os.listdir("models") == []


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (b"a;b\n1;2\n", "The sample sample.csv lacks columns of the model: a, b; it has: a;b."),
        (b"a,c\n1,2\n", "lacks columns of the model: b; it has: a, c."),
        (b"", "The sample sample.csv can't be read: "),
        (b"a,b\n\xff,1\n", "The sample sample.csv can't be read: "),
        (b"a,b\n1,2\n3,4,5\n", "The sample sample.csv can't be read: "),
        (b"a,b\n", "sample is empty"),
        (b"a,b\nx,1\n", "can't score its sample"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(
    run: Run, home: Path, sample: bytes, message: str
) -> None:
    write_joblib(home / "model.joblib")
    (home / "sample.csv").write_bytes(sample)

    assert message in told(run("publish", "model.joblib", *PUBLISH))
    assert os.listdir("models") == []


def test_without_names_the_sample_must_hold_the_features_alone(run: Run, home: Path) -> None:
    joblib.dump(fitted(names=False), "model.joblib")
    X.assign(left=1).to_csv("sample.csv", index=False)

    message = told(run("publish", "model.joblib", *PUBLISH))

    assert "X has 3 features" in message
    assert "must hold what it was fitted on and nothing else" in message


@pytest.mark.parametrize("metric", ["r2", "r2=good", "=0.9", "r2=nan", "r2=inf"])
def test_a_metric_that_is_no_number_is_wrong_usage(run: Run, home: Path, metric: str) -> None:
    write_joblib(home / "model.joblib")

    result = run("publish", "model.joblib", *PUBLISH, "--metric", metric)

    assert result.exit_code == 2
    assert f"'{metric}' is not like r2=0.93." in result.stderr


@pytest.mark.parametrize("options", [("--alias", "Champion"), ("--format", "onnx"), ("--shout",)])
def test_wrong_usage_publishes_nothing(run: Run, home: Path, options: tuple[str, ...]) -> None:
    write_joblib(home / "model.joblib")

    assert run("publish", "model.joblib", *PUBLISH, *options).exit_code == 2
    assert os.listdir("models") == []


def test_a_name_that_is_no_directory_name_is_refused(run: Run, home: Path) -> None:
    write_joblib(home / "model.joblib")

    message = told(run("publish", "model.joblib", "--name", "Churn!", "--sample", "sample.csv"))

    assert "can't name a model" in message


# --- the repository


def test_the_repository_is_the_one_named_or_that_of_the_settings(run: Run, home: Path) -> None:
    write_joblib(home / "model.joblib")
    for name in ("elsewhere", "of_settings"):
        (home / name).mkdir()

    run("publish", "model.joblib", *PUBLISH, "--repository", "elsewhere")
    run("publish", "model.joblib", *PUBLISH, models_dir="of_settings")

    assert os.listdir("models") == []
    assert ModelRepository(home / "elsewhere").names() == ["churn"]
    assert ModelRepository(home / "of_settings").names() == ["churn"]


@pytest.mark.parametrize(
    "command",
    [
        ("publish", "model.joblib", *PUBLISH),
        ("alias", "churn", "champion", "1"),
        ("verify",),
        ("remove", "churn:1"),
    ],
)
def test_without_a_repository_every_command_says_where_it_looked(
    run: Run, home: Path, command: tuple[str, ...]
) -> None:
    write_joblib(home / "model.joblib")
    (home / "models").rmdir()

    message = told(run(*command))

    assert f"There is no model repository at {home / 'models'}" in message
    assert "--repository" in message


def test_a_setting_that_can_not_be_used_is_named(run: Run) -> None:
    assert "The setting ROWMILL_WORKERS is not usable" in told(run("verify", workers="many"))


# --- alias


def test_aliases_are_set_moved_and_taken_away(run: Run, home: Path) -> None:
    for version in (1, 2):
        add(version)

    run("alias", "churn", "champion", "1")
    run("alias", "churn", "challenger", "2", "--shadow")
    shown = run("alias", "churn", "canary", "2", "--weight", "0.05")
    moved = run("alias", "churn", "champion", "2", "--json")
    run("alias", "churn", "challenger", "--remove")

    assert shown.stdout.splitlines() == [
        "churn@canary      → 2  5.00% of the jobs",
        "churn@challenger  → 2  shadow",
        "churn@champion    → 1",
    ]
    assert json.loads(moved.stdout)["aliases"]["champion"] == "2"
    aliases = ModelRepository(home / "models").aliases("churn").model_dump()
    assert aliases == {"champion": "2", "canary": {"version": "2", "weight": 0.05}}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("champion",), "Give a VERSION to point to, or --remove"),
        (("champion", "1", "--remove"), "Give a VERSION to point to, or --remove"),
        (("champion", "--remove", "--shadow"), "--remove takes neither"),
        (("champion", "one"), "VERSION 'one' is no number; write it like 3."),
        (("champion", "1", "--weight", "30"), "--weight 30 is no share; it is above 0"),
        (("champion", "1", "--weight", "0"), "--weight 0 is no share; it is above 0"),
        (("champion", "1", "--weight", "nan"), "--weight nan is no share"),
        (("champion", "1", "--weight", "0.1", "--shadow"), "A --shadow answers no job"),
    ],
)
def test_a_wrong_target_of_an_alias_is_wrong_usage_and_says_what_is_wrong(
    run: Run, home: Path, arguments: tuple[str, ...], said: str
) -> None:
    add()

    result = run("alias", "churn", *arguments)

    assert result.exit_code == 2
    assert f"Error: {said}" in result.stderr
    assert ModelRepository(home / "models").aliases("churn").root == {}


def test_what_opens_no_model_does_not_import_what_does() -> None:
    """scikit-learn takes seconds."""
    code = "import sys, worker.repository_commands; print('sklearn' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"


def test_who_begins_a_file_of_aliases_anew_is_told(run: Run, home: Path) -> None:
    add()
    (home / "models/churn/aliases.json").write_text('{"champion": ')

    done = run("alias", "churn", "canary", "1")

    assert (done.exit_code, done.stdout.split()) == (0, ["churn@canary", "→", "1"])
    assert done.stderr.startswith("Warning: the aliases of 'churn' can't be read")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("churn", "champion", "7"), "Model 'churn' has no version '7'; it has 1."),
        (("oil", "champion", "1"), "There is no model 'oil'; there are: churn."),
        (("churn", "Champion", "1"), "is no model reference"),
        (("churn", "second", "1", "--weight", "0.6"), "weights add up to more than 1"),
        (("churn", "nobody", "--remove"), "Model 'churn' has no alias 'nobody'; it has canary."),
    ],
)
def test_an_alias_that_can_not_be_set_says_why(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    add()
    run("alias", "churn", "canary", "1", "--weight", "0.6")

    assert message in told(run("alias", *arguments))


# --- verify


class Killer:
    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return signal.raise_signal, (signal.SIGKILL,)


def spoil(version: int, content: bytes) -> None:
    """Other content for an artifact, with the checksum in its manifest."""
    home = Path("models/churn") / str(version)
    document = json.loads((home / "manifest.json").read_text())
    artifact = home / document["artifact"]["file"]
    artifact.write_bytes(content)
    document["artifact"] |= {"sha256": file_sha256(artifact), "bytes": len(content)}
    (home / "manifest.json").write_text(json.dumps(document))


def test_sound_versions_are_verified(run: Run) -> None:
    for version in (1, 2):
        add(version)

    all_of_them, one = run("verify"), run("verify", "churn:1")

    assert (all_of_them.exit_code, all_of_them.stdout) == (0, "churn/1  ok\nchurn/2  ok\n")
    assert (one.exit_code, one.stdout) == (0, "churn/1  ok\n")


def test_a_flipped_byte_is_found_and_the_others_are_still_looked_at(run: Run) -> None:
    for version in (1, 2):
        add(version)
    path = Path("models/churn/1/model.skops")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)

    result, as_json = run("verify"), run("verify", "--json")

    first, second = result.stdout.splitlines()
    assert (result.exit_code, as_json.exit_code) == (1, 1)
    assert first.startswith("churn/1  FAILED  model_load_failed: The artifact of 'churn/1' does n")
    assert second == "churn/2  ok"
    failed, ready = json.loads(as_json.stdout)["versions"]
    assert (failed["state"], failed["error"]["code"]) == ("failed", "model_load_failed")
    assert (ready["name"], ready["version"], ready["state"]) == ("churn", "2", "ready")
    assert ready["error"] is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking a process with threads
def test_a_model_that_kills_its_process_kills_no_other(run: Run) -> None:
    add(1, artifact_format=ArtifactFormat.JOBLIB)
    spoil(1, pickle.dumps(Killer()))

    result = run("verify", allow_pickle="true")

    assert result.exit_code == 1
    assert "died (SIGKILL)" in result.stdout


def test_a_pickle_is_verified_as_workers_would_open_it(run: Run) -> None:
    add(1, artifact_format=ArtifactFormat.JOBLIB)

    refused, allowed = run("verify"), run("verify", allow_pickle="true")

    assert (refused.exit_code, allowed.exit_code) == (1, 0)
    assert "ROWMILL_ALLOW_PICKLE=true" in refused.stdout


def test_a_broken_manifest_is_verified_as_broken(run: Run) -> None:
    add()
    Path("models/churn/1/manifest.json").write_text("{}")

    result = run("verify")

    assert result.exit_code == 1
    assert result.stdout.startswith("churn/1  FAILED  invalid_manifest: ")


def test_a_version_that_is_not_there_can_not_be_verified(run: Run) -> None:
    add()

    assert "has no version '7'" in told(run("verify", "churn:7"))
    assert "no alias 'champion'" in told(run("verify", "churn@champion"))


def test_nothing_to_verify_is_said(run: Run, home: Path) -> None:
    result = run("verify")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"There is no model in {home / 'models'}.\n"


# --- remove


def test_a_version_is_removed(run: Run, home: Path) -> None:
    for version in (1, 2):
        add(version)

    assert run("remove", "churn:1").stdout == "removed churn/1\n"
    assert ModelRepository(home / "models").versions("churn") == ["2"]


@pytest.mark.parametrize("reference", ["churn", "churn@champion"])
def test_a_version_is_removed_by_its_number_alone(run: Run, reference: str) -> None:
    add()

    result = run("remove", reference)

    assert result.exit_code == 2
    assert "Say which version, as in churn:3." in result.stderr
    assert ModelRepository(Path("models")).versions("churn") == ["1"]


def test_a_version_with_an_alias_stays(run: Run) -> None:
    add()
    run("alias", "churn", "champion", "1")

    message = told(run("remove", "churn:1"))

    assert "Version '1' of 'churn' is its champion; move the alias first." in message
    assert ModelRepository(Path("models")).versions("churn") == ["1"]


def test_a_version_that_is_not_there_is_not_removed(run: Run) -> None:
    assert "There is no model 'churn'" in told(run("remove", "churn:1"))
