"""What watches the service: rules that fire when they should, a dashboard and docs that fit."""

import json
import os
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.documents import DOCS, ROOT

PROMETHEUS = ROOT / "deploy/prometheus"
GRAFANA = ROOT / "deploy/grafana"
RUNBOOK = DOCS / "how-to/respond-to-alerts.md"
METRIC = re.compile(r"\browmill_\w+")
OF_A_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return list(group["rules"])


def dashboard() -> dict[str, Any]:
    return dict(json.loads((GRAFANA / "dashboards/rowmill.json").read_text()))


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


# --- rules


@pytest.mark.skipif(
    not shutil.which("promtool") and "CI" not in os.environ, reason="promtool is not installed"
)
@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", "alerts.yml"),
        # The token's file is there only in the container.
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(command: tuple[str, ...]) -> None:
    checked = subprocess.run(
        ("promtool", *command), cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_not(
    rule: dict[str, Any],
) -> None:
    cases = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    [case] = [case for case in cases if case["name"] == rule["alert"]]
    looks = case["promql_expr_test"]

    assert {look["expr"] for look in looks} == {
        f'count(ALERTS{{alertname="{rule["alert"]}", alertstate="firing"}})'
    }
    assert [bool(look["exp_samples"]) for look in looks] == [False, True]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_it_is_and_where_to_read_what_to_do(rule: dict[str, Any]) -> None:
    notes = rule["annotations"]

    assert rule["labels"]["severity"] in ("warning", "critical")
    assert notes["summary"]
    assert notes["description"]
    assert notes["runbook"] == f"{RUNBOOK.relative_to(ROOT)}#{rule['alert'].lower()}"
    assert f"\n## {rule['alert']}\n" in RUNBOOK.read_text()


def test_every_section_of_the_runbook_is_about_an_alert() -> None:
    sections = re.findall(r"^## (Rowmill\w+)$", RUNBOOK.read_text(), re.MULTILINE)

    assert sections == [rule["alert"] for rule in rules()]


def test_every_metric_that_is_asked_for_is_in_the_reference() -> None:
    asked = [rule["expr"] for rule in rules()]
    asked += [target["expr"] for panel in panels() for target in panel["targets"]]
    names = {OF_A_HISTOGRAM.sub("", name) for expr in asked for name in METRIC.findall(expr)}

    assert names
    assert names <= set(METRIC.findall((DOCS / "reference/metrics.md").read_text()))


# --- the dashboard


def test_panels_have_names_and_units_and_do_not_overlap() -> None:
    all_panels = dashboard()["panels"]
    ids = [panel["id"] for panel in all_panels]

    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["title"], panel
        assert panel["description"], panel
        assert panel["fieldConfig"]["defaults"]["unit"], panel
    for one, other in combinations([panel["gridPos"] for panel in all_panels], 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_above, (one, other)


def test_the_dashboard_asks_the_data_source_that_is_provisioned() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    uids = set(re.findall(r'"uid": "(\w+)"}', json.dumps(dashboard())))

    assert uids == {source["uid"] for source in provisioned["datasources"]}


# --- containers


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_a_service_of_monitoring_can_do_no_more_than_it_must(name: str) -> None:
    service = compose()["services"][name]

    assert service["profiles"] == ["monitoring"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].partition(":")[0]) > 0
    assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert bool(service.get("ports")) == (name == "grafana")


def test_what_is_mounted_is_there() -> None:
    for name in ("prometheus", "grafana"):
        for volume in compose()["services"][name]["volumes"]:
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (ROOT / Path(source)).is_dir(), volume


@pytest.mark.skipif(not shutil.which("sh"), reason="there is no shell")
def test_grafana_does_not_start_without_a_password() -> None:
    entrypoint = [
        part.replace("$$", "$") for part in compose()["services"]["grafana"]["entrypoint"]
    ]

    refused = subprocess.run(
        entrypoint,
        env={"GF_SECURITY_ADMIN_PASSWORD": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode == 1
    assert "ROWMILL_GRAFANA_PASSWORD" in refused.stderr


@pytest.mark.skipif(not shutil.which("docker"), reason="docker is not installed")
def test_compose_takes_the_profile() -> None:
    checked = subprocess.run(
        ("docker", "compose", "--profile", "monitoring", "config", "--quiet"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr
