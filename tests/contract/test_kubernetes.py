"""The manifests are sound, and say what the code does: settings, ports, paths, times."""

import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from api.app import create_app
from shared.settings import Settings
from tests.kustomize import Manifest, can_render, manifests, rendered
from tests.live_stack import ROOT

KUBERNETES = ROOT / "deploy/kubernetes"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())

SCALED_OBJECT = yaml.safe_load("""
type: object
required: [scaleTargetRef, triggers]
additionalProperties: false
properties:
  scaleTargetRef: {type: object, required: [name], properties: {name: {type: string}}}
  minReplicaCount: {type: integer, minimum: 1}
  maxReplicaCount: {type: integer}
  pollingInterval: {type: integer}
  fallback:
    type: object
    additionalProperties: false
    required: [failureThreshold, replicas]
    properties: {failureThreshold: {type: integer}, replicas: {type: integer}}
  advanced:
    type: object
    additionalProperties: false
    properties:
      horizontalPodAutoscalerConfig:
        type: object
        additionalProperties: false
        properties: {behavior: {type: object}}
  triggers:
    type: array
    minItems: 1
    items:
      type: object
      additionalProperties: false
      required: [type, name, metricType, metadata]
      properties:
        type: {const: prometheus}
        name: {type: string}
        metricType: {enum: [AverageValue, Value]}
        metadata:
          type: object
          additionalProperties: {type: string}
          required: [serverAddress, query, threshold]
""")
"""As much of KEDA's own schema as is used. (The whole one has passed these, too, by the npm package
@kubernetes-models/keda 2.0.0.)"""


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The overlay with secrets, as somebody has it who installs it."""
    copy = tmp_path_factory.mktemp("kubernetes") / "k"
    shutil.copytree(KUBERNETES, copy)
    overlay = copy / "overlays/production"
    (overlay / "secrets.env").write_text("REDIS_PASSWORD=a1\nROWMILL_METRICS_TOKEN=b2\n")
    return overlay


@pytest.fixture(scope="module")
def found(installation: Path) -> list[Manifest]:
    return manifests(installation)


def named(found: list[Manifest], kind: str, name: str) -> Any:
    (manifest,) = (
        each for each in found if (each["kind"], each["metadata"]["name"]) == (kind, name)
    )
    return manifest


def pod(found: list[Manifest], component: str) -> Any:
    kind = "StatefulSet" if component == "redis" else "Deployment"
    return named(found, kind, component)["spec"]["template"]["spec"]


def container(found: list[Manifest], component: str) -> Any:
    (only,) = pod(found, component)["containers"]
    return only


@pytest.mark.parametrize("version", ["1.31", "1.34", "1.37"])
def test_manifests_are_sound(found: list[Manifest], version: str) -> None:
    foreign = {"ScaledObject", "PodMonitor"}
    for manifest in found:
        if manifest["kind"] not in foreign:
            kubernetes_validate.validate(manifest, version, strict=True)

    assert {each["kind"] for each in found} >= foreign


def test_the_scaled_object_is_sound_and_scales_the_workers(found: list[Manifest]) -> None:
    scaled = named(found, "ScaledObject", "worker")

    jsonschema.validate(scaled["spec"], SCALED_OBJECT)
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    assert scaled["spec"]["scaleTargetRef"]["name"] == "worker"
    # Whoever applies the manifests again leaves the number alone.
    assert "replicas" not in named(found, "Deployment", "worker")["spec"]
    # KEDA takes a fallback only with one of these.
    assert "AverageValue" in {each["metricType"] for each in scaled["spec"]["triggers"]}


def test_kubectl_makes_the_same_of_them(installation: Path, found: list[Manifest]) -> None:
    if not can_render(installation):
        pytest.skip("needs a kubectl that knows components (1.21)")

    def names(manifests: list[Manifest]) -> set[tuple[str, str]]:
        hashed = re.compile(r"-[a-z0-9]{10}$")
        return {
            (each["kind"], hashed.sub("", each["metadata"]["name"])
             if each["kind"] == "ConfigMap" else each["metadata"]["name"])
            for each in manifests
        }  # fmt: skip

    assert names(rendered(installation)) == names(found)


def test_every_variable_is_a_setting(found: list[Manifest]) -> None:
    known = {f"ROWMILL_{name.upper()}" for name in Settings.model_fields}
    # Settings of access and metrics, where they are.
    names = set(named(found, "ConfigMap", "rowmill-settings")["data"])
    for component in ("api", "worker"):
        names |= {each["name"] for each in container(found, component)["env"]}

    assert names - {"REDIS_PASSWORD"} <= known


@pytest.mark.parametrize("component", ["api", "worker", "redis"])
def test_pods_may_do_next_to_nothing(found: list[Manifest], component: str) -> None:
    spec, only = pod(found, component), container(found, component)

    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec["automountServiceAccountToken"]
    assert not spec["enableServiceLinks"]
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert only["resources"]["limits"]["memory"]
    assert all(mount["readOnly"] for mount in only["volumeMounts"] if mount["name"] == "models")


def test_containers_are_those_of_compose(found: list[Manifest]) -> None:
    for component in ("api", "worker"):
        dockerfile = (ROOT / f"Dockerfile.{component}").read_text()
        user = pod(found, component)["securityContext"]["runAsUser"]
        assert f"--uid {user} " in dockerfile
        assert COMPOSE["services"][component]["image"] == f"rowmill-{component}"

    compose, ours = COMPOSE["services"]["redis"], container(found, "redis")
    assert compose["image"] == ours["image"]
    for option in ("--appendonly", "--appendfsync", "--maxmemory-policy"):
        values = [words[words.index(option) + 1] for words in (compose["command"], ours["command"])]
        assert values[0] == values[1], option


def test_ports_and_paths_of_probes_exist(found: list[Manifest]) -> None:
    only = container(found, "api")
    routes = {str(rule) for rule in create_app(Settings()).url_map.iter_rules()}
    ports = {each["name"]: each["containerPort"] for each in only["ports"]}
    (service_port,) = named(found, "Service", "api")["spec"]["ports"]

    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert only[probe]["httpGet"]["path"] in routes
        assert only[probe]["httpGet"]["port"] in ports
    assert ports["http"] == Settings.model_fields["port"].default == service_port["port"]
    assert service_port["targetPort"] == "http"
    metrics = named(found, "ConfigMap", "rowmill-settings")["data"]["ROWMILL_METRICS_PORT"]
    (port,) = container(found, "worker")["ports"]
    assert str(port["containerPort"]) == metrics


def test_a_worker_is_asked_as_its_image_asks_it(found: list[Manifest]) -> None:
    asked = container(found, "worker")["livenessProbe"]["exec"]["command"]

    assert f"CMD {str(asked).replace(chr(39), chr(34))}" in (ROOT / "Dockerfile.worker").read_text()


def test_pods_have_longer_to_stop_than_they_take(found: list[Manifest]) -> None:
    settings = named(found, "ConfigMap", "rowmill-settings")["data"]
    # Read and not run: that would begin to count requests in this process.
    text = (ROOT / "deploy/gunicorn.conf.py").read_text()
    graceful_seconds = int(re.findall(r"^graceful_timeout = (\d+)$", text, re.MULTILINE)[0])
    _, draining = container(found, "api")["lifecycle"]["preStop"]["exec"]["command"]
    api, worker = (
        pod(found, component)["terminationGracePeriodSeconds"] for component in ("api", "worker")
    )

    assert api > int(draining) + graceful_seconds
    assert worker > int(settings["ROWMILL_STOP_SECONDS"])
    in_compose = COMPOSE["services"]
    assert int(in_compose["api"]["stop_grace_period"][:-1]) > graceful_seconds
    assert (
        int(in_compose["worker"]["stop_grace_period"][:-1])
        > Settings.model_fields["stop_seconds"].default
    )


def test_only_rowmill_reaches_redis(found: list[Manifest]) -> None:
    spec = named(found, "NetworkPolicy", "redis")["spec"]
    (rule,) = spec["ingress"]
    (source,) = rule["from"]

    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert source["podSelector"]["matchExpressions"] == [
        {"key": "app.kubernetes.io/component", "operator": "In", "values": ["api", "worker"]}
    ]
    assert spec["egress"] == []


def test_only_nginx_and_what_people_look_at_is_published_by_compose() -> None:
    services = COMPOSE["services"]
    published = {name for name, each in services.items() if "ports" in each}

    # Of these only nginx is there unless it is asked for.
    assert published <= {"nginx", "flower", "grafana"}
    assert not any("container_name" in each for each in services.values())
    assert services["nginx"]["read_only"]
    assert services["nginx"]["cap_drop"] == ["ALL"]
    assert int(services["nginx"]["user"].partition(":")[0]) > 0
