"""Chunks as cells."""

from api.pages.chunk_strip import MAX_CELLS, chunk_strip
from shared.job_store.job_chunks import ChunkState

DONE, RUNNING, WAITING, _ = ChunkState


def test_a_job_of_one_chunk_has_no_strip() -> None:
    assert chunk_strip([DONE]) is None
    assert chunk_strip([]) is None


def test_each_chunk_has_a_cell() -> None:
    strip = chunk_strip([DONE, RUNNING, WAITING])

    assert strip is not None
    assert strip.cells == ("done", "running", "waiting")
    assert strip.text == "1 done, 1 running, 1 waiting"


def test_of_many_chunks_several_share_a_cell() -> None:
    strip = chunk_strip([DONE] * 151 + [WAITING] * 49 + [RUNNING] + [WAITING] * 49)

    assert strip is not None
    assert len(strip.cells) <= MAX_CELLS
    assert strip.chunks_per_cell == 3
    assert set(strip.cells[:50]) == {"done"}
    assert strip.cells[50] == "partly"
    assert strip.cells.count("running") == 1
    assert sum(strip.counts.values()) == 250
