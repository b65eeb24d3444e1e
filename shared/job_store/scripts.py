"""The Lua scripts beside this module, each run on all keys of one job as one atomic step."""

from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis import Redis

from shared.job_store.connection import translated_errors
from shared.job_store.keys import job_keys

FREEING = frozenset({"lease_chunk", "commit_chunk", "end_job", "delete_job"})
"""Scripts that run even when Redis is at `maxmemory`: they lead to memory being freed. The others
bring new work and are refused then."""


class JobScripts:
    """Runs a script by its file name. The client loads a script again where the server lost it."""

    def __init__(self, redis: Redis) -> None:
        names = ("create_job", "append_chunk", "close_input", *FREEING)
        self._scripts = {name: redis.register_script(_source(name)) for name in names}

    def run(self, name: str, job_id: str, args: Sequence[str | bytes | int] = ()) -> Any:
        """The script's answer as redis-py gives it: bytes, int or a list of them.

        Raises StoreUnavailableError, StoreFullError.
        """
        with translated_errors():
            return self._scripts[name](keys=job_keys(job_id), args=list(args))


def _source(name: str) -> str:
    folder = resources.files("shared.job_store") / "lua"
    flags = "#!lua flags=allow-oom\n" if name in FREEING else ""
    return flags + (folder / "_job.lua").read_text() + (folder / f"{name}.lua").read_text()
