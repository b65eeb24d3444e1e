"""What `make audit` makes of pip-audit's answers."""

import importlib.util
from types import ModuleType
from typing import Any

import pytest

from tests.live_stack import ROOT

SAFE = {"name": "safe", "version": "1", "vulns": []}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found on PyPI"}
BROKEN = {
    "name": "broken",
    "version": "2",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"], "aliases": [], "description": ""}],
}


def by_name(*packages: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {package["name"]: package for package in packages}


@pytest.fixture
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "requirements" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_known_vulnerability_fails_and_says_what_mends_it(
    audit: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.report(by_name(SAFE, BROKEN), "") == 1
    assert "broken 2: PYSEC-1, mended in 3" in capsys.readouterr().out


def test_packages_that_nobody_knows_are_named_and_do_not_fail(
    audit: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.report(by_name(SAFE, UNKNOWN), "") == 0
    printed = capsys.readouterr().out
    assert "NOT AUDITED: unknown" in printed
    assert "1 packages audited, 0 known vulnerabilities" in printed


@pytest.mark.parametrize(
    ("packages", "failure", "why"),
    [([UNKNOWN], "", "none of 1 packages"), ([], "no route to host", "no route to host")],
)
def test_it_is_said_loudly_when_nothing_was_audited(
    audit: ModuleType,
    capsys: pytest.CaptureFixture[str],
    packages: list[dict[str, Any]],
    failure: str,
    why: str,
) -> None:
    assert audit.report(by_name(*packages), failure) == 0
    printed = capsys.readouterr().out
    assert f"NOTHING WAS AUDITED: {why}" in printed
    assert "packages audited" not in printed


def test_an_answer_that_is_none_is_told_as_the_reason(audit: ModuleType) -> None:
    """As where the service is not reached."""
    packages, failure = audit.audited([ROOT / "requirements" / "missing.txt"])

    assert packages == {}
    assert "missing.txt" in failure
