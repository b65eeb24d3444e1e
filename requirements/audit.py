"""Ask for known vulnerabilities of all pinned packages: `python requirements/audit.py`.

Exits with 1 when there are any. Where no advisory service is reached, or it knows nothing of the
packages, as behind some mirrors, nothing was audited: that is said loudly, and is no failure, since
it says nothing of the change at hand.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FILES = tuple(sorted(ROOT.glob("requirements/*.txt")))

LINE = "=" * 78


def audited(files: Sequence[Path]) -> tuple[dict[str, dict[str, Any]], str]:
    """What pip-audit says of each package by name, and why it says nothing if it does not."""
    command = ["-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner=off"]
    packages: dict[str, dict[str, Any]] = {}
    failure = ""
    # It refuses two files that hold the same package.
    for file in files:
        result = subprocess.run(
            [sys.executable, *command, "--format=json", "-r", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            of_file = json.loads(result.stdout)["dependencies"]
        except ValueError:
            failure = (result.stderr.strip().splitlines() or ["no output"])[-1]
        else:
            packages |= {package["name"]: package for package in of_file}
    return packages, failure


def report(packages: dict[str, dict[str, Any]], failure: str) -> int:
    """Prints what was found; returns the exit code."""
    found = [(p, vuln) for p in packages.values() for vuln in p.get("vulns", ())]
    skipped = sorted(name for name, package in packages.items() if "skip_reason" in package)
    known = len(packages) - len(skipped)
    for package, vulnerability in found:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {vulnerability['id']}, mended in {fixed}")
    if not known:
        why = failure or f"none of {len(skipped)} packages is known to the service"
        print(
            f"{LINE}\nNOTHING WAS AUDITED: {why}.\nRun `make audit` where PyPI is reached.\n{LINE}"
        )
    elif skipped or failure:
        print(f"{LINE}\nNOT AUDITED: {failure or ', '.join(skipped)}\n{LINE}")
    if known:
        print(f"{known} packages audited, {len(found)} known vulnerabilities.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(report(*audited(FILES)))
