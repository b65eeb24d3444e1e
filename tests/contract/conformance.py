"""Schemathesis beside a running service: it sends what the contract allows and what it forbids."""

import subprocess
import sys
from pathlib import Path

from tests.live_stack import ROOT, inherited_variables

HERE = Path(__file__).parent


def compare(
    url: str, *, seed: int, examples: int, directory: Path, most_seconds: int | None = None
) -> subprocess.CompletedProcess[str]:
    """All checks on so many examples of each operation, or as many as there is time for. Returns
    the finished command: 0 if service and contract agree, and what it says in `stdout`.

    `directory`: where it keeps what it finds.
    """
    command = [
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
        *("--config-file", str(HERE / "schemathesis.toml")),
        *("run", f"{url}/openapi.json", "--checks", "all", "--continue-on-failure"),
        *("--max-examples", str(examples), "--seed", str(seed), "--request-timeout", "30"),
    ]
    if most_seconds is not None:
        command += ["--max-time", str(most_seconds)]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.contract.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command,
        cwd=directory,
        env=inherited_variables() | hooks | {"NO_PROXY": "*"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
