"""Where benchmarks keep what takes long to make and never changes: data, models, predictions."""

from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent / ".bench"

EDITION = 1
"""Counted up when data or models are made in another way."""


def folder() -> Path:
    """The folder for this edition and these libraries; other ones make other models."""
    name = f"{EDITION}-sklearn-{version('scikit-learn')}-numpy-{version('numpy')}"
    path = ROOT / name
    path.mkdir(parents=True, exist_ok=True)
    return path
