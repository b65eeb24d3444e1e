"""Where the time of a Rowmill job goes, from its document and from the worker's log."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

TAIL_BYTES = 4 * 1024**2
"""So much of a log holds the lines of a job that has just ended."""

LOG_SECONDS = 1.0
"""How long after a job's end its last line may need to get into the log."""

SUFFIX = "_seconds"


def document_steps(job: Mapping[str, Any]) -> dict[str, float]:
    """Seconds from creation to the first chunk's start, and from there to the last commit."""
    created, started, finished = (
        datetime.fromisoformat(job[f"{moment}_at"]) for moment in ("created", "started", "finished")
    )
    return {
        "queue": (started - created).total_seconds(),
        "run": (finished - started).total_seconds(),
    }


def log_steps(log: Path, job: Mapping[str, Any]) -> dict[str, float]:
    """What the worker's lines on the chunks of a job say of seconds, added up over its processes.

    Fields `<step>_seconds` become `worker <step>`; empty when no line has any. `chunks`: their
    number.
    """
    deadline = time.monotonic() + LOG_SECONDS
    while True:
        lines = list(_chunk_lines(log, job["id"]))
        is_complete = sum(line["rows"] for line in lines) >= job["counts"]["total"]
        if is_complete or time.monotonic() > deadline:
            return chunk_steps(lines)
        time.sleep(0.02)


def chunk_steps(lines: list[dict[str, Any]]) -> dict[str, float]:
    """The sums of the lines' seconds by step."""
    steps: Counter[str] = Counter()
    for line in lines:
        for name, value in line.items():
            if name.endswith(SUFFIX):
                steps[f"worker {name.removesuffix(SUFFIX)}"] += value
    return {"chunks": len(lines), **steps} if lines else {}


def _chunk_lines(log: Path, job_id: str) -> Iterator[dict[str, Any]]:
    """The log's lines on committed chunks of a job."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        tail = file.read()
    for line in tail.splitlines():
        if job_id.encode() not in line:
            continue
        fields = json.loads(line)
        if "chunk" in fields and "rows" in fields and fields.get("outcome") == "committed":
            yield fields
