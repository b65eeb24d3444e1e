"""The contract is valid, complete and true: it is compared with routes, examples and answers."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from api.app import create_app
from api.contract.document import document
from examples.line.train import train as train_line
from examples.petrol.train import train as train_petrol
from shared.settings import Settings
from tests.contract import documents
from tests.contract.conformance import compare
from tests.contract.documents import HTTP, ROOT, Message
from tests.live_stack import Api, live_stack

HERE = Path(__file__).parent
PAGES = ("/static", "/ui", "/docs")
"""Below these are pages for people and what they are made of."""


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    # As it is sent: enumerations are strings by then.
    return dict(json.loads(json.dumps(document())))


@pytest.fixture(scope="module")
def stack(run_directory: Path) -> Iterator[Api]:
    models_dir = run_directory / "contract-models"
    train_line(models_dir)
    train_petrol(models_dir)
    own = {"default_model": "line", "max_wait_seconds": "2"}
    with live_stack(run_directory / "contract", models_dir, **own) as api:
        yield api


def test_it_is_a_valid_document_of_its_version(contract: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    validate(contract)

    assert contract["info"]["version"] == project["version"]


def test_it_has_every_route_and_no_other(contract: dict[str, Any]) -> None:
    app = create_app(Settings(redis_url="unix:///nowhere"))
    routes = {
        (rule.rule.replace("<", "{").replace(">", "}"), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule != "/" and not rule.rule.startswith(PAGES)
    }

    assert {(path, method) for path, of in contract["paths"].items() for method in of} == routes


def test_what_needs_keys_or_other_callers_to_happen_is_in_it(contract: dict[str, Any]) -> None:
    """A service without keys, with one caller, answers none of it to who compares."""

    def codes(path: str, method: str, status: str) -> set[str]:
        answer = contract["paths"][path][method]["responses"][status]
        schema = answer["content"]["application/problem+json"]["schema"]
        return set(schema["properties"]["code"]["enum"])

    assert "job_stopped" in codes("/predict", "post", "409")
    for path in ("/jobs", "/predict", "/jobs/{job_id}/retry"):
        of_limits = {"rate_limited", "row_quota_exceeded", "too_many_jobs"}
        assert of_limits <= codes(path, "post", "429")
    assert "rate_limited" in codes("/jobs", "get", "429")


def operation(contract: dict[str, Any], start: str) -> dict[str, Any]:
    """What the contract says of a request, by its first line."""
    method, target, _ = start.split(" ")
    path = target.partition("?")[0]
    for template, methods in contract["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) and method.lower() in methods:
            return dict(methods[method.lower()])
    raise AssertionError(f"{start} is not in the contract")


EXCHANGES = list(documents.exchanges(HTTP))


@pytest.mark.parametrize(("request_", "answer"), EXCHANGES, ids=lambda message: message.start)
def test_the_examples_of_the_reference_are_as_it_says(
    request_: Message, answer: Message, contract: dict[str, Any]
) -> None:
    described = operation(contract, request_.start)["responses"][answer.start.split(" ")[1]]
    media_type = answer.headers.get("Content-Type", "application/json").partition(";")[0]
    content = described.get("content", {})
    is_json = media_type.endswith("json") and not media_type.endswith("ndjson")
    schema = content[media_type]["schema"] if answer.body else {}
    validator = Draft202012Validator({**schema, "components": contract["components"]})

    assert not answer.body or media_type in content
    assert not is_json or not answer.body or not [*validator.iter_errors(json.loads(answer.body))]


@pytest.mark.timeout(300)
def test_a_running_service_does_what_it_says_and_nothing_else(stack: Api, tmp_path: Path) -> None:
    run = compare(stack.url, seed=1, examples=50, directory=tmp_path)

    assert run.returncode == 0, run.stdout
    assert re.search(r"[0-9]{3,} generated, [0-9]{3,} passed", run.stdout), run.stdout
