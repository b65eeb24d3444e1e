"""Compile the pinned requirement files, or check that they fit pyproject.toml.

    python requirements/lock.py           compile them again: new requirements, pins kept
    python requirements/lock.py --check   change nothing; exit 1 when compiling would change a pin

How each file is compiled stands in its own header. Pins are compared and hashes are not: a package
may get another wheel for an old version at any time.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = tuple(sorted(ROOT.glob("requirements/*.txt")))

_COMMAND = re.compile(r"^#\s+uv (pip compile .+)$", re.MULTILINE)
_PIN = re.compile(r"^[A-Za-z0-9][^\s\\]*==[^\\\n]*", re.MULTILINE)


def compile_file(file: Path, *, root: Path) -> None:
    """Compile one requirement file in place. Exits with uv's own words when it can't be done."""
    relative = file.relative_to(root)
    command = _COMMAND.search(file.read_text())
    if not command:
        sys.exit(f"{relative} does not say how it was compiled; its second line should.")
    uv = Path(sys.executable).with_name("uv")
    result = subprocess.run(
        (str(uv), *command[1].split()),
        check=False,
        cwd=root,
        # As pip does: the system knows the certificate of a company's proxy, uv's own list doesn't.
        # Not by an option: uv would write it into the header, the next compilation's command.
        env={**os.environ, "UV_SYSTEM_CERTS": "true"},
        capture_output=True,
        text=True,
    )
    if result.returncode:
        sys.exit(f"{relative} can't be compiled:\n{result.stderr}")


def pins(file: Path) -> set[str]:
    """The `name==version ; marker` lines of a requirement file."""
    return {line.strip() for line in _PIN.findall(file.read_text())}


def changed_pins(file: Path) -> set[str]:
    """What compiling a file again would add (`+`) and remove (`-`)."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "requirements").mkdir()
        shutil.copy(ROOT / "pyproject.toml", root)
        # uv keeps the pins of a file that is there: only a need for change shows.
        copy = Path(shutil.copy(file, root / "requirements"))
        compile_file(copy, root=root)
        now, then = pins(copy), pins(file)
    return {f"+ {pin}" for pin in now - then} | {f"- {pin}" for pin in then - now}


def check() -> None:
    is_stale = False
    for file in FILES:
        for change in sorted(changed_pins(file), key=lambda line: line[2:]):
            is_stale = True
            print(f"{file.relative_to(ROOT)}: {change}")
    if is_stale:
        sys.exit("The requirement files don't fit pyproject.toml; run `make lock` and commit them.")


def lock() -> None:
    for file in FILES:
        compile_file(file, root=ROOT)


if __name__ == "__main__":
    check() if "--check" in sys.argv[1:] else lock()
