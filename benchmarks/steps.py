"""Where the time of a Rowmill job goes, from its document and from the worker's log."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any


def document_steps(job: Mapping[str, Any]) -> dict[str, float]:
    """Seconds from creation to the first chunk's start, and from there to the last commit."""
    created, started, finished = (
        datetime.fromisoformat(job[f"{moment}_at"]) for moment in ("created", "started", "finished")
    )
    return {
        "queue": (started - created).total_seconds(),
        "run": (finished - started).total_seconds(),
    }
