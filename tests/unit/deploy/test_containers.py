"""What every container of docker-compose.yml is denied, so that a new service can't forget it."""

import re
from typing import Any

import pytest
import yaml

from tests.live_stack import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
FRONT = {"nginx"} & set(SERVICES) or {"api"}
"""What is published unless something else is asked for."""

UNBOUNDED_MEMORY = {"redis"}
"""Has a bound of its own, and needs more for a while when it writes its file anew."""

every_service = pytest.mark.parametrize("name", SERVICES)


def user_of(service: dict[str, Any]) -> str:
    """Who runs the service: by compose, or by the image that is built for it."""
    if "build" in service and "user" not in service:
        build = service["build"]
        lines = (ROOT / build["context"] / build["dockerfile"]).read_text()
        return re.findall(r"^USER (\S+)$", lines, re.MULTILINE)[-1]
    return str(service["user"])


def bind_of(port: str) -> str:
    """The address a port is published on, as it is when no variable is set."""
    address = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", port)
    return address.rpartition(":")[0].rpartition(":")[0]


@every_service
def test_a_container_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert user_of(service).partition(":")[0] not in ("root", "0")


@every_service
def test_a_container_is_bounded(name: str) -> None:
    service = SERVICES[name]

    assert 0 < service["pids_limit"] <= 4096
    assert ("mem_limit" in service) != (name in UNBOUNDED_MEMORY)
    assert service["logging"]["options"].keys() >= {"max-size", "max-file"}


@every_service
def test_only_the_front_is_published_unless_more_is_asked_for(name: str) -> None:
    service = SERVICES[name]
    ports = service.get("ports", [])

    assert bool(ports) <= (name in FRONT or bool(service.get("profiles")))
    assert {bind_of(port) for port in ports} <= {"127.0.0.1"}
    assert service.get("network_mode", "none") == "none"


@every_service
def test_what_is_mounted_of_this_machine_is_read_only(name: str) -> None:
    volumes = [volume.split(":") for volume in SERVICES[name].get("volumes", [])]

    assert [v for v in volumes if v[0].startswith((".", "/")) and v[2:] != ["ro"]] == []


def test_redis_is_on_a_network_without_a_way_out_with_those_who_need_it() -> None:
    on_store = {
        name for name, service in SERVICES.items() if "store" in service.get("networks", [])
    }

    assert SERVICES["redis"]["networks"] == ["store"]
    assert COMPOSE["networks"]["store"] == {"internal": True}
    # Those who are told where its password lies.
    secret = {
        name
        for name, service in SERVICES.items()
        if any("redis-password" in volume for volume in service.get("volumes", []))
    }
    assert on_store | {"password"} == secret


def test_no_password_stands_in_the_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text()

    assert re.findall(r"://[^\s/@]*:[^\s/@]+@", text) == []
    assert (
        re.findall(r"^ +\w*(?:PASSWORD|SECRET|TOKEN|KEY): (?!\$\{\w+:-\}|$).*$", text, re.M) == []
    )
