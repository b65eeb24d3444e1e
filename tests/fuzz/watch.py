"""The service's processes and logs: nothing dies, nothing crashes, nothing grows without end."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

CRASHES = re.compile(
    rb"Traceback|crashed|exited unexpectedly|WorkerLostError|not understood|\"level\": \"critical\""
)

MAY_GROW = 96 * 1024**2
"""Bytes by which a process may grow when it is warm: an allocator's slack, and columns of a file
that says it is large."""


@dataclass
class Watch:
    """Looks at processes and at what is new in their logs."""

    roots: Sequence[int]
    logs: Sequence[Path]
    _read: dict[Path, int] = field(default_factory=dict)
    _members: frozenset[int] = frozenset()
    _warm: Mapping[int, int] = field(default_factory=dict)

    def begin(self) -> None:
        """Remember who is there."""
        self._members = frozenset(self._pids())

    def warm(self) -> None:
        """From now on nothing may grow by much."""
        self._warm = self._sizes()

    def complaints(self) -> Iterator[str]:
        """What has happened since it was asked last."""
        gone = self._members - set(self._pids())
        if gone:
            yield f"processes died: {sorted(gone)}"
            self._members = frozenset(self._pids())
        for log in self.logs:
            yield from self._crashes(log)

    def growth(self) -> Iterator[str]:
        """What each process has grown by since it was warm, where that is too much."""
        for pid, size in self._sizes().items():
            grown = size - self._warm.get(pid, size)
            if grown > MAY_GROW:
                yield f"process {pid} grew by {grown / 1024**2:.0f} MiB to {size / 1024**2:.0f}"

    def sizes_text(self) -> str:
        """Memory that is a process's own, in MiB: when warm → now."""
        now = self._sizes()
        return ", ".join(
            f"{pid}: {self._warm.get(pid, 0) >> 20} → {size >> 20}" for pid, size in now.items()
        )

    def _crashes(self, log: Path) -> Iterator[str]:
        with log.open("rb") as file:
            file.seek(self._read.get(log, 0))
            text = file.read()
        self._read[log] = self._read.get(log, 0) + len(text)
        for line in text.splitlines():
            if CRASHES.search(line):
                yield f"{log.name}: {line[:2000].decode(errors='replace')}"

    def _pids(self) -> Iterator[int]:
        for root in self.roots:
            process = psutil.Process(root)
            yield from (one.pid for one in (process, *process.children(recursive=True)))

    def _sizes(self) -> Mapping[int, int]:
        # Not the resident size: a forked process's rises by what it merely reads of its parent's
        # libraries, which costs no memory.
        return {pid: psutil.Process(pid).memory_full_info().uss for pid in self._pids()}
