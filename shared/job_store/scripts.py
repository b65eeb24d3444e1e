"""The Lua scripts beside this module, each one atomic step.

They build the keys of the job they are told, which Redis Cluster would not allow: decision 0011.
"""

from collections.abc import Collection, Sequence
from importlib import resources
from typing import Any

from redis import Redis

from shared.job_store import keys
from shared.job_store.connection import translated_errors
from shared.jobs import END_STATUSES, NEVER_TAKEN_IN

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
    "beat",
    "leave",
    "sweep",
)
"""Run even at `maxmemory`, where others are refused: they lead to memory being freed."""

TAKING_IN = ("create_job", "submit_job", "append_chunk", "close_input")
"""Have `_intake.lua` before them, too."""

READING = ("read_chunks",)
"""Write nothing, so they run also where a server takes no writes."""


class Scripts:
    """Runs a script by its file name. The client loads a script again where the server lost it."""

    def __init__(self, redis: Redis, *names: str) -> None:
        self._scripts = {name: redis.register_script(_source(name)) for name in names}

    def run(self, name: str, *args: str | bytes | float) -> Any:
        """The script's answer as redis-py gives it: bytes, int or a list of them.

        Raises StoreUnavailableError, StoreFullError.
        """
        with translated_errors():
            return self._scripts[name](args=args)


def _source(name: str) -> str:
    folder = resources.files("shared.job_store") / "lua"
    names = "".join(f"local {lua} = '{key}' " for lua, key in keys.FOR_SCRIPTS.items())
    sets = _set("ENDS", END_STATUSES) + _set("NEVER_TAKEN_IN", NEVER_TAKEN_IN)
    preludes = ("_job", "_work", "_intake") if name in TAKING_IN else ("_job", "_work")
    parts = ((folder / f"{part}.lua").read_text() for part in (*preludes, name))
    return f"#!lua{_flags(name)}\n{names}{sets}\n{''.join(parts)}"


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
