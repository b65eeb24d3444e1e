"""The chunks of a job as a strip of cells, in the order of the input."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from shared.job_store.job_chunks import ChunkState

MAX_CELLS = 100
"""Cells that can be told apart on a narrow screen; of a job with more chunks a cell is several."""


@dataclass(frozen=True, kw_only=True)
class ChunkStrip:
    """A state for each cell, and how many chunks stand how."""

    cells: tuple[str, ...]
    """The state of all of its chunks, or what some of them are: `running` or `partly`."""
    counts: dict[ChunkState, int]
    chunks_per_cell: int

    @property
    def text(self) -> str:
        """The same in words."""
        named = [f"{count:,} {state}" for state, count in self.counts.items() if count]
        return ", ".join(named)


def chunk_strip(states: Sequence[ChunkState]) -> ChunkStrip | None:
    """None where there is nothing to tell apart."""
    if len(states) < 2:
        return None
    per_cell = -(-len(states) // MAX_CELLS)
    groups = (states[at : at + per_cell] for at in range(0, len(states), per_cell))
    counts = Counter(states)
    return ChunkStrip(
        cells=tuple(map(_cell, groups)),
        counts={state: counts[state] for state in ChunkState},
        chunks_per_cell=per_cell,
    )


def _cell(states: Sequence[ChunkState]) -> str:
    if ChunkState.RUNNING in states:
        return ChunkState.RUNNING
    return states[0] if len(set(states)) == 1 else "partly"
