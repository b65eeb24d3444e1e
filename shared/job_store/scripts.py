"""The Lua scripts beside this module, each one atomic step.

They build the keys of the job they are told, which Redis Cluster would not allow: decision 0011.
"""

import hashlib
from collections.abc import Collection, Sequence
from importlib import resources
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError

from shared.job_store import keys, records
from shared.job_store.connection import translated_errors
from shared.job_store.stages import STAGES
from shared.jobs import END_STATUSES, NEVER_TAKEN_IN, VALIDATION

LEADING_ON = (
    # Looks for itself whether there is room, and frees the input where there is none.
    "append_chunk",
    "close_input",
    "keep_uploads",
    "await_end",
    "take_chunks",
    "begin_part",
    "commit_chunks",
    "return_chunk",
    "end_job",
    "delete_job",
    "claim_garbage",
    "claim_delivery",
    "settle_delivery",
    "beat",
    "leave",
    "sweep",
)
"""Run even at `maxmemory`, where others are refused: they lead to memory being freed."""

TAKING_IN = ("create_job", "submit_jobs", "append_chunk", "close_input")
"""Have `_intake.lua` before them, too."""

READING = ("read_chunks", "read_heads")
"""Write nothing, so they run also where a server takes no writes."""


class Scripts:
    """Runs a script by its file name; loads it where the server lost it, or never had it."""

    def __init__(self, redis: Redis, *names: str) -> None:
        self._redis = redis
        self._sources = {name: _source(name) for name in names}
        # A server names a script by this sum.
        self._shas = {
            name: hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
            for name, source in self._sources.items()
        }

    def run(self, name: str, *args: str | bytes | float) -> Any:
        """The script's answer as redis-py gives it: bytes, int or a list of them.

        Raises StoreUnavailableError, StoreFullError.
        """
        with translated_errors():
            # Not by the client's own Script, which costs as much as all the rest of a call.
            try:
                return self._redis.execute_command("EVALSHA", self._shas[name], 0, *args)  # type: ignore[no-untyped-call]
            except NoScriptError:
                return self._redis.execute_command("EVAL", self._sources[name], 0, *args)  # type: ignore[no-untyped-call]


def _source(name: str) -> str:
    folder = resources.files("shared.job_store") / "lua"
    names = "".join(f"local {lua} = '{key}' " for lua, key in keys.FOR_SCRIPTS.items())
    sets = _set("ENDS", END_STATUSES) + _set("NEVER_TAKEN_IN", NEVER_TAKEN_IN)
    sets += f"local VALIDATION = '{VALIDATION}' "
    stages = ", ".join(f"['{lane} {status}'] = {n}" for (lane, status), n in STAGES.items())
    sets += f"local STAGE = {{{stages}}} "
    told = ", ".join(f"'{field}'" for field in records.OF_JOB)
    preludes = ("_job", "_work", "_intake") if name in TAKING_IN else ("_job", "_work")
    before = "".join((folder / f"{part}.lua").read_text() for part in preludes)
    script = (folder / f"{name}.lua").read_text()
    # A script returns where it is done; what it kept for its end is written after that.
    main = f"local function main()\n{script}\nend\nlocal answer = main()\nsettle()\nreturn answer\n"
    return f"#!lua{_flags(name)}\n{names}{sets}local OF_JOB = {{{told}}}\n{before}{main}"


def _flags(name: str) -> str:
    if name in READING:
        return " flags=no-writes"
    return " flags=allow-oom" if name in LEADING_ON else ""


def _set(name: str, words: Collection[str]) -> str:
    """A set as a Lua table: the same text every time, or the server would keep each as a script."""
    members = ", ".join(f"{word} = true" for word in sorted(words))
    return f"local {name} = {{{members}}} "


def texts(values: Sequence[bytes]) -> list[str]:
    """Parts of an answer that are words."""
    return [value.decode() for value in values]
