"""The Lua scripts beside this module, each one atomic step.

They build the keys of the job they are told, which Redis Cluster would not allow: decision 0011.
"""

from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis import Redis

from shared.job_store import keys
from shared.job_store.connection import translated_errors

BRINGING_WORK = ("create_job", "append_chunk")
"""Refused when Redis is at `maxmemory`."""

LEADING_ON = (
    "close_input",
    "keep_uploads",
    "take_chunk",
    "begin_part",
    "commit_chunk",
    "return_chunk",
    "end_job",
    "delete_job",
    "beat",
    "leave",
    "sweep",
)
"""Run even then: they lead to memory being freed."""


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
    flags = " flags=allow-oom" if name in LEADING_ON else ""
    names = "".join(f"local {lua} = '{key}' " for lua, key in keys.FOR_SCRIPTS.items())
    prelude = (folder / "_job.lua").read_text()
    return f"#!lua{flags}\n{names}\n{prelude}{(folder / f'{name}.lua').read_text()}"


def texts(values: Sequence[bytes]) -> list[str]:
    """Parts of an answer that are words."""
    return [value.decode() for value in values]
