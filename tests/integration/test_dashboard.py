"""A Prometheus with the real configuration asks a stack under load what the dashboard shows."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import STDOUT, Popen
from typing import Any

import pytest
import requests
import yaml

from tests.live_stack import ROOT, Api, answers, free_port, live_stack
from tests.receivers import SECRET, answering, receiver
from tests.waiting import wait_until

PROMETHEUS = ROOT / "deploy/prometheus"
DASHBOARD = ROOT / "deploy/grafana/dashboards/rowmill.json"
TOKEN = "a token of its own"

pytestmark = pytest.mark.skipif(
    not shutil.which("prometheus") and "CI" not in os.environ,
    reason="prometheus is not installed",
)


@contextmanager
def prometheus(directory: Path, targets: dict[str, str]) -> Iterator[str]:
    """One that scrapes these in place of what it would find by name; yields its URL."""
    directory.mkdir()
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    token = directory / "token"
    token.write_text(TOKEN)
    for job in configuration["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
        job["authorization"] = {"credentials_file": str(token)}
    (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    shutil.copy(PROMETHEUS / "alerts.yml", directory)
    address = f"127.0.0.1:{free_port()}"
    command = (
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={address}",
    )
    with (directory / "log").open("wb") as log:
        process = Popen(command, stdout=log, stderr=STDOUT)
    try:
        wait_until(lambda: answers(f"http://{address}/-/ready"), timeout=60)
        yield f"http://{address}/api/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)


def expressions() -> dict[str, str]:
    """What the panels ask for, as Grafana would ask for all models."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        .replace("$__rate_interval", "20s")
        .replace("$model", ".*")
        for panel in panels
        for target in panel.get("targets", ())
    }


def asked(prometheus_url: str, path: str, **query: str) -> Any:
    answer = requests.get(f"{prometheus_url}/{path}", params=query, timeout=30).json()
    assert answer["status"] == "success", answer
    return answer["data"]


def has_data(prometheus_url: str, expression: str) -> bool:
    found = asked(prometheus_url, "query", query=expression)["result"]
    return any(sample["value"][1] != "NaN" for sample in found)


def make_traffic(api: Api, callback_url: str) -> None:
    api.predict("x\n1\nbad\n", model="line")
    api.predict("x\n1\n", model="nobody")
    api.submit("x\n" + "1\n" * 2000, model="echo", wait=20, callback_url=callback_url)


@pytest.mark.timeout(400)
def test_every_panel_has_data_under_load(run_directory: Path, few_models: Path) -> None:
    """Nothing is asked for by a name or a label that is not there."""
    worker = f"127.0.0.1:{free_port()}"
    settings = {
        "metrics_port": worker.rpartition(":")[2],
        "metrics_token": TOKEN,
        "webhook_secret": SECRET,
        "webhook_allow_private": "true",
    }
    directory = run_directory / "dash"
    # Redis of a test has no bound, so two questions about it have no answer.
    left = {
        name: expression
        for name, expression in expressions().items()
        if "rowmill_redis_max_bytes" not in expression
    }
    with (
        live_stack(directory, few_models, **settings) as api,
        receiver(answering(204)) as hook,
        prometheus(
            directory / "p", {"api": api.url.removeprefix("http://"), "worker": worker}
        ) as url,
    ):

        def is_all_seen() -> bool:
            make_traffic(api, hook.url)
            for name in [name for name, asks in left.items() if has_data(url, asks)]:
                del left[name]
            return not left

        wait_until(is_all_seen, timeout=60)

        for expression in expressions().values():
            asked(url, "query", query=expression)
        targets = asked(url, "targets")["activeTargets"]
        assert {target["labels"]["job"]: target["health"] for target in targets} == {
            "api": "up",
            "worker": "up",
        }
        [group] = asked(url, "rules")["groups"]
        assert [rule["name"] for rule in group["rules"] if rule["health"] != "ok"] == []
        assert [rule["name"] for rule in group["rules"] if rule["state"] == "firing"] == []
