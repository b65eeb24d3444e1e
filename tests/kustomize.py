"""What `kubectl kustomize` makes of the simple kustomizations of this tree, without kubectl.

Resources, components, namespace, images and generators without a suffix. A test compares it with
the real one where there is one.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

KUBECTL = shutil.which("kubectl")

KNOWN = {"apiVersion", "kind", "resources", "components", "namespace", "images",
         "configMapGenerator", "secretGenerator"}  # fmt: skip

Manifest = dict[str, Any]


def manifests(directory: Path) -> list[Manifest]:
    """The manifests of a kustomization; Secrets hold their text as `stringData`."""
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    assert kustomization.keys() <= KNOWN, "teach tests/kustomize.py the rest"
    found: list[Manifest] = []
    for name in kustomization.get("resources", []) + kustomization.get("components", []):
        path = directory / name
        if path.is_dir():
            found += manifests(path)
        else:
            found += [each for each in yaml.safe_load_all(path.read_text()) if each]
    for kind, data, generator in (
        ("ConfigMap", "data", "configMapGenerator"),
        ("Secret", "stringData", "secretGenerator"),
    ):
        for each in kustomization.get(generator, []):
            values = [line for name in each["envs"] for line in _lines(directory / name)]
            found.append(
                {
                    "apiVersion": "v1",
                    "kind": kind,
                    "metadata": {"name": each["name"]},
                    data: dict(line.split("=", 1) for line in values),
                }
            )
    return found


def _lines(file: Path) -> list[str]:
    lines = file.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def rendered(directory: Path) -> list[Manifest]:
    """The same by kubectl."""
    assert KUBECTL
    done = subprocess.run(
        [KUBECTL, "kustomize", directory], capture_output=True, text=True, check=True
    )
    return list(yaml.safe_load_all(done.stdout))


def can_render(directory: Path) -> bool:
    """Whether there is a kubectl that knows components: Debian's does not."""
    if not KUBECTL:
        return False
    try:
        rendered(directory)
    except subprocess.CalledProcessError as error:
        if "components" in error.stderr:
            return False
        raise
    return True
