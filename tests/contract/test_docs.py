"""What the docs promise: examples give what they show, and tables hold what the code has."""

import ast
import doctest
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from pydantic import BaseModel

from api import problems
from api.app import create_app
from examples.line.train import train as train_line
from examples.petrol.train import train as train_petrol
from shared import errors
from shared.aliases import Alias
from shared.job_store import keys
from shared.jobs import JobErrorCode, JobStatus
from shared.manifest import Artifact, Manifest
from shared.settings import Settings
from shared.signature import Feature
from shared.statistics import FeatureStatistics, PredictionStatistics
from tests.contract import documents
from tests.contract.documents import DOCS, HTTP, PAGES, ROOT, JobIds, Message
from tests.live_stack import Api, free_port, inherited_variables, live_stack
from tests.onnx_graphs import exported, petrol_network
from tests.receivers import SECRET

NOT_RUN = ("make ", "git ", ". .venv/")
"""Commands of the docs that the stack of this test stands for."""

ERRORS = DOCS / "reference/errors.md"
REDIS_KEYS = DOCS / "reference/redis-keys.md"
ROW_ERROR_CODE = re.compile(r'code="(\w+)"|yield "(\w+)",|"", "(\w+)"|\.refuse\("(\w+)"')
"""The places in `worker/` where row errors get their codes."""


@pytest.fixture(scope="module")
def workspace(run_directory: Path) -> Path:
    """A directory that looks to the commands of the docs like the root of a clone."""
    root = run_directory / "clone"
    root.mkdir()
    (root / "examples").symlink_to(ROOT / "examples")
    train_line(root / "models")
    train_petrol(root / "models")
    return root


@pytest.fixture(scope="module")
def stack(workspace: Path, run_directory: Path) -> Iterator[Api]:
    # As the page on webhooks has it started, but for the pauses.
    settings = {
        "webhook_secret": SECRET,
        "webhook_allow_private": "true",
        "webhook_retry_seconds": "1 1 1 1 1 1 1 1 1 1",
    }
    directory = run_directory / "docs"
    with live_stack(directory, workspace / "models", **settings) as api:
        yield api


# --- examples


def send(stack: Api, request: Message, ids: JobIds) -> requests.Response:
    method, path, _ = ids.translate(request.start).split(" ")
    is_form = request.headers.get("Content-Type", "").startswith("multipart/")
    body = request.body.replace("\n", "\r\n") if is_form else request.body
    url = stack.url + path
    return requests.request(method, url, headers=request.headers, data=body.encode(), timeout=60)


@pytest.mark.timeout(180)
def test_the_examples_of_the_http_reference_are_what_the_api_answers(stack: Api) -> None:
    ids = JobIds()
    for request, documented in documents.exchanges(HTTP):
        answer = send(stack, request, ids)
        ids.learn(documented.headers.get("Location", ""), answer.headers.get("Location", ""))
        expected = Message(
            start=documented.start,
            headers=json.loads(ids.translate(json.dumps(documented.headers))),
            body=ids.translate(documented.body),
        )
        assert answer.status_code == int(expected.start.split(" ")[1]), request.start
        assert expected.headers.items() <= dict(answer.headers).items(), request.start
        assert not expected.body or same_body(answer, expected.body), answer.text


def same_body(answer: requests.Response, expected: str) -> bool:
    if "json" not in answer.headers["Content-Type"] or "ndjson" in answer.headers["Content-Type"]:
        return answer.text == expected
    return bool(documents.masked(answer.json()) == documents.masked(json.loads(expected)))


def run(command: str, *, stack: Api, cwd: Path, variables: dict[str, str]) -> str:
    """What a command of the docs prints, both streams together."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONPATH": str(ROOT), "ROWMILL_URL": stack.url, "NO_PROXY": "*"}
    return subprocess.run(
        ("sh", "-c", command.replace("http://127.0.0.1:8000", stack.url)),
        cwd=cwd,
        env=inherited_variables() | own | variables,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout


def perform(
    page: Path, *, stack: Api, cwd: Path, not_run: tuple[str, ...] = NOT_RUN
) -> Iterator[tuple[str, str, str]]:
    """Runs a page from top to bottom: each command, what it should print and what it printed."""
    ids, variables = JobIds(), {}
    for language, text in documents.blocks(page):
        if language == "python":
            (cwd / text.splitlines()[0].removeprefix("# ")).write_text(text)
        for command, expected in documents.commands(text) if language == "console" else []:
            if command.startswith(not_run):
                continue
            name, is_assignment, value = ids.translate(command).partition("=")
            if is_assignment and name.isidentifier():
                variables[name] = value
                continue
            printed = run(ids.translate(command), stack=stack, cwd=cwd, variables=variables)
            ids.learn(expected, printed)
            yield command, ids.translate(expected), printed


@pytest.mark.timeout(300)
@pytest.mark.skipif(not shutil.which("curl"), reason="the commands use curl")
@pytest.mark.parametrize(
    "page",
    [
        "tutorial/first-job.md",
        "how-to/publish-a-model.md",
        "how-to/roll-out-a-version.md",
        "how-to/combine-models.md",
        "how-to/use-the-python-client.md",
        "reference/cli.md",
    ],
)
def test_the_commands_of_a_page_print_what_it_shows(page: str, stack: Api, workspace: Path) -> None:
    performed = list(perform(DOCS / page, stack=stack, cwd=workspace))

    assert performed
    assert_as_shown(performed)


def test_the_script_of_the_http_reference_prints_what_it_shows(stack: Api, workspace: Path) -> None:
    performed = list(perform(HTTP, stack=stack, cwd=workspace, not_run=(*NOT_RUN, "curl ")))

    assert len(performed) == 1
    assert_as_shown(performed)


def assert_as_shown(performed: Iterable[tuple[str, str, str]]) -> None:
    checker = doctest.OutputChecker()
    for command, expected, printed in performed:
        pattern = expected.replace("…", "...")
        assert checker.check_output(pattern, printed, doctest.ELLIPSIS), (command, printed)


def write_network(directory: Path) -> None:
    """What the networks of the page on Keras and PyTorch leave behind."""
    estimator, X = petrol_network()
    (directory / "net.onnx").write_bytes(exported(estimator, 4))
    own = pd.DataFrame({"prediction": estimator.predict(X)})
    own.to_csv(directory / "own.csv", index=False)


@pytest.mark.timeout(300)
def test_a_network_is_exported_published_and_scored_as_its_page_shows(
    stack: Api, workspace: Path
) -> None:
    """PyTorch and Keras are too large to be installed for this: their blocks are run where they
    are. Elsewhere a network of scikit-learn, exported by skl2onnx, stands in for the file that
    they would have written, and the rest of the page is run with it."""
    page = DOCS / "how-to/use-a-keras-or-pytorch-model.md"
    absent = [
        f"python {library}_net.py" for library in ("torch", "keras") if not find_spec(library)
    ]
    write_network(workspace)

    performed = list(perform(page, stack=stack, cwd=workspace, not_run=(*NOT_RUN, *absent)))

    assert len(performed) == 6 - len(absent)
    assert_as_shown(performed)


@pytest.mark.timeout(180)
@pytest.mark.skipif(not shutil.which("curl"), reason="the commands use curl")
def test_a_webhook_is_received_as_its_page_shows(
    stack: Api, workspace: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    text = (DOCS / "how-to/receive-a-webhook.md").read_text()
    page.write_text(text.replace("9000", str(free_port())))
    (workspace / "secret.txt").write_text(SECRET)

    performed = list(perform(page, stack=stack, cwd=workspace, not_run=(*NOT_RUN, "echo whsec_")))

    assert len(performed) == 4
    assert_as_shown(performed)


# --- tables


def test_every_route_is_in_the_reference_and_nothing_else() -> None:
    app = create_app(Settings(redis_url="unix:///nowhere"))
    routes = {
        f"{method} {rule.rule.replace('<', '{').replace('>', '}')}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert set(re.findall(r"^### `(.*)`$", HTTP.read_text(), re.MULTILINE)) == routes


def default_text(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        return "the embedded server"
    default = field.default
    text = str(default.get_secret_value() if hasattr(default, "get_secret_value") else default)
    return f"`{text}`" if text else "–"


def test_every_setting_is_in_the_reference_as_the_code_has_it() -> None:
    expected = [
        (
            f"`ROWMILL_{name.upper()}`",
            default_text(name),
            " ".join((field.description or "").split()),
        )
        for name, field in Settings.model_fields.items()
    ]

    assert documents.rows(DOCS / "reference/settings.md", "Settings")[: len(expected)] == expected


def test_every_setting_reaches_the_containers() -> None:
    images_own = {"host", "run_dir", "models_dir"}
    expected = {f"ROWMILL_{name.upper()}" for name in set(Settings.model_fields) - images_own}
    compose = (ROOT / "docker-compose.yml").read_text()

    assert expected <= set(re.findall(r"(?:^ +|\$\{)(ROWMILL_\w+):", compose, re.MULTILINE))


def error_classes(base: type[errors.RowmillError] = errors.RowmillError) -> Iterator[type[Any]]:
    yield base
    for cls in base.__subclasses__():
        if cls.__module__ == errors.__name__:
            yield from error_classes(cls)


def test_every_error_code_is_in_the_reference_with_its_status() -> None:
    documented = {row[0].strip("`"): row[1] for row in documents.rows(ERRORS, "Problems")}
    never_sent = {"publish_failed", "model_load_failed", "model_example_failed", "job_ended"}
    never_sent |= {"shadow_given_up", "key_not_found", "no_api_key"}
    statuses = {cls.code: problems.status_of(cls.__new__(cls)).value for cls in error_classes()}

    assert never_sent <= statuses.keys()
    assert all(f"`{code}`" in ERRORS.read_text() for code in never_sent)
    for code in statuses.keys() - never_sent:
        assert documented.get(code) == str(statuses[code]), code


def test_every_code_of_a_row_error_is_in_the_reference() -> None:
    source = "".join(path.read_text() for path in (ROOT / "worker").glob("*.py"))
    codes = {"".join(groups) for groups in ROW_ERROR_CODE.findall(source)}

    assert set(documents.names(ERRORS, "Row errors")) == codes


@pytest.mark.parametrize(
    ("page", "heading", "values"),
    [(ERRORS, "Job errors", JobErrorCode), (HTTP, "Status", JobStatus)],
)
def test_every_state_and_job_error_is_in_the_reference(
    page: Path, heading: str, values: Any
) -> None:
    assert set(documents.names(page, heading)) == set(values)


def test_every_field_of_the_job_object_is_in_the_reference() -> None:
    example = next(documents.exchanges(HTTP))[1].body
    document = json.loads(example)

    assert set(documents.names(HTTP, "The job object")) == documents.member_paths(document)


def test_every_redis_key_is_on_the_architecture_page() -> None:
    parts = {"READY": ("{lane}",), "READY_JOBS": ("{lane}", "{caller}"), "LEASES": ("{worker}",),
             "WAITING_CHUNKS": ("{lane}",), "BELL": ("{worker process}",), "WOKEN": ("{lane}",),
             "CALLBACKS_OF": ("{host}",), "JOBS_OF": ("{owner}",), "IN_FLIGHT": ("{owner}",),
             "IDEMPOTENCY": ("{key}",)}  # fmt: skip
    known = {f"job:{{id}}{suffix}" for suffix in (*keys.JOB_KEY_SUFFIXES, ":input:{n}")}
    known |= {keys.ends("{api}"), keys.opened("{worker}"), keys.SERVING, keys.COMPARISONS}
    known |= {keys.session("{digest}")}
    known |= {
        key % parts.get(name, ()) for name, key in keys.FOR_SCRIPTS.items() if name != "JOB_KEY"
    }

    assert set(documents.names(REDIS_KEYS, "What lies in Redis")) == known


def test_every_redis_key_is_in_the_legend_of_its_module() -> None:
    legend = set(
        re.findall(r"^\| ([a-z_]+(?::\S+(?: \w+})?)?) +\|", keys.__doc__ or "", re.MULTILINE)
    )

    assert legend - {"key"} == set(documents.names(REDIS_KEYS, "What lies in Redis"))


def logged_events() -> Iterator[str]:
    """The constant text of every line that is logged."""
    sources = [
        path for package in ("api", "worker", "shared") for path in (ROOT / package).rglob("*.py")
    ]
    for node in (node for path in sources for node in ast.walk(ast.parse(path.read_text()))):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="logger")), args=[ast.IfExp() as either]
            ):
                yield from map(ast.literal_eval, (either.body, either.orelse))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="logger")), args=[text]):
                yield ast.literal_eval(text)


def test_every_event_that_is_logged_is_in_the_reference() -> None:
    assert set(documents.names(DOCS / "reference/logs.md", "Events")) == set(logged_events())


MANIFEST = DOCS / "reference/manifest.md"


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("The manifest", Manifest),
        ("The artifact", Artifact),
        ("The signature", Feature),
        ("The statistics", FeatureStatistics),
        ("The statistics of predictions", PredictionStatistics),
        ("Aliases", Alias),
    ],
)
def test_every_member_of_a_manifest_is_in_the_reference(
    heading: str, model: type[BaseModel]
) -> None:
    assert documents.names(MANIFEST, heading) == [*model.model_fields]


# --- names and links


def test_every_make_target_that_is_named_exists() -> None:
    text = "".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"(?:`|\$ )(?:\w+=\w+ )?make ([a-z]+)", text))

    assert named
    assert named <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_setting_that_is_named_exists() -> None:
    known = documents.names(DOCS / "reference/settings.md", "Settings")
    named = set(re.findall(r"ROWMILL_[A-Z_]+", "".join(page.read_text() for page in PAGES)))

    assert named <= set(known)


def test_every_guarantee_names_tests_that_exist() -> None:
    page = DOCS / "explanation/guarantees.md"
    promises = page.read_text().partition("## How they are kept")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| **")]

    assert rows
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for path, name in named:
            assert f"def {name}(" in (ROOT / path).read_text(), (path, name)


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path))
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert built.returncode == 0, built.stderr
    pages = "".join(page.read_text() for page in tmp_path.rglob("*.html"))
    assert not re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["']https?:[^"']+""", pages)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
