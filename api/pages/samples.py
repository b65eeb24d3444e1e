"""Some of a job's result lines, parsed: its first rows, and a sample of its predictions.

Bounded in bytes and rows however large the job is: it is read for people who look at a page.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from api.pages.distributions import Distribution, of_classes, of_numbers
from shared.job_store.job_chunks import JobChunks
from shared.jobs import Job
from shared.signature import Dtype, OutputColumn, OutputKind
from shared.statistics import PredictionStatistics, TrainingStatistics

FIRST_ROWS = 10
FIRST_BYTES = 64 * 1024
SHOWN_COLUMNS = 30
"""A table of more is no table that people read."""

SAMPLE_ROWS = 10_000
SAMPLE_BYTES = 1024**2
SAMPLE_CHUNKS = 32
"""As many evenly spread chunks are read, each from its beginning, until there are so many bytes; of
their rows, evenly spread ones are counted. It takes some 50 ms."""

MAX_DISTRIBUTIONS = 4
"""Columns of predictions that are drawn."""

MAX_OUTPUTS = 100
"""Columns that are looked at: of more classes no most probable one is sought."""

MAX_CLASSES = 20
"""More different whole numbers than this are amounts and no classes."""

PROBABILITY = "proba_"

Rows = list[list[str]]


@dataclass(frozen=True, kw_only=True)
class FirstRows:
    """The first rows that have a result, without columns that are too many or say nothing."""

    columns: tuple[OutputColumn, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int
    """Columns that only the files have."""

    @classmethod
    def of(
        cls, columns: tuple[OutputColumn, ...], rows: Rows, *, carried_columns: int = 0
    ) -> "FirstRows":
        """`rows` with the columns of results: row, carried ones, predictions, error.

        Predictions come first: they are what is looked for, however much is carried.
        """
        last = len(columns) - 1
        found = range(1 + carried_columns, last)
        places = [0, *found, *range(1, 1 + carried_columns)][:SHOWN_COLUMNS]
        if last and any(row[-1] for row in rows):
            places.insert(1 + len(found), last)
        return cls(
            columns=tuple(columns[place] for place in places),
            rows=tuple(tuple(row[place] for place in places) for row in rows),
            left_out=max(0, len(columns) - 1 - SHOWN_COLUMNS),
        )


def first_rows(job: Job, chunks: JobChunks) -> FirstRows:
    """Rows of the first chunk that is committed; none before there is one."""
    heads = chunks.result_heads(job, _committed(job, chunks)[:1], size_bytes=FIRST_BYTES)
    rows = [row for head in heads for row in _parsed(head, size_bytes=FIRST_BYTES)]
    carried = len(job.spec.carried)
    return FirstRows.of(job.spec.result_columns, rows[:FIRST_ROWS], carried_columns=carried)


def distributions(
    job: Job, chunks: JobChunks, statistics: TrainingStatistics | None
) -> list[Distribution]:
    """How the predictions of evenly spread rows are distributed, column by column."""
    rows = _sample(job, chunks)
    names = [column.name for column in job.spec.result_columns]
    own = job.spec.result_columns[1 + len(job.spec.carried) : -1]
    values = {c.name: [row[names.index(c.name)] for row in rows] for c in own[:MAX_OUTPUTS]}
    trained = statistics.predictions if statistics else ()
    if _are_probabilities(job, values):
        found = [_most_probable(values, trained)]
    else:
        found = list(_by_column(job, own, values, trained))
    return [distribution for distribution in found if distribution is not None]


def _committed(job: Job, chunks: JobChunks) -> Sequence[int]:
    """Chunks to read; of a job with so many that nobody is told which are committed, all: those
    that are not are left out."""
    return chunks.done(job) or range(job.chunks_total if job.chunks_done else 0)


def _sample(job: Job, chunks: JobChunks) -> Rows:
    """Result rows with a prediction, of chunks that are evenly spread. Which of theirs is left to
    chance, the same each time: every k-th would be wrong where the rows' order repeats."""
    done = _committed(job, chunks)
    step = max(1, -(-len(done) // SAMPLE_CHUNKS))
    size = SAMPLE_BYTES // max(1, len(done[::step]))
    heads = chunks.result_heads(job, done[::step], size_bytes=size)
    rows = [row for head in heads for row in _parsed(head, size_bytes=size) if not row[-1]]
    chance = Random(len(rows))  # noqa: S311 – nobody gains by guessing
    return chance.sample(rows, min(len(rows), SAMPLE_ROWS))


def _parsed(head: bytes, *, size_bytes: int) -> Rows:
    """The rows of a text that was cut off behind so many bytes, but for the last one then."""
    text = io.StringIO(head.decode(errors="replace"), newline="")
    rows = [row for row in csv.reader(text) if row]
    return rows[:-1] if len(head) == size_bytes else rows


def _are_probabilities(job: Job, values: dict[str, list[str]]) -> bool:
    """Whether each row has the probabilities of classes that exclude each other."""
    if job.spec.output is not OutputKind.PREDICT_PROBA or not 2 <= len(values) < MAX_OUTPUTS:
        return False
    firsts = [column[0] for column in values.values() if column]
    return bool(firsts) and abs(sum(map(float, firsts)) - 1) < 1e-3


def _most_probable(
    values: dict[str, list[str]], trained: Sequence[PredictionStatistics]
) -> Distribution | None:
    classes = [name.removeprefix(PROBABILITY) for name in values]
    rows = (list(map(float, row)) for row in zip(*values.values(), strict=True))
    found = (classes[row.index(max(row))] for row in rows)
    return of_classes("Most probable class", found, trained[0].categories if trained else {})


def _by_column(
    job: Job,
    columns: Sequence[OutputColumn],
    values: dict[str, list[str]],
    trained: Sequence[PredictionStatistics],
) -> Iterator[Distribution | None]:
    """`trained` is of what the model predicts, and of nothing else that it may be asked for."""
    known = list(trained) if job.spec.output is OutputKind.PREDICT else []
    known += [PredictionStatistics()] * len(columns)
    for column, statistics in list(zip(columns, known, strict=False))[:MAX_DISTRIBUTIONS]:
        texts = [text for text in values[column.name] if text]
        if _are_classes(column, texts, statistics):
            yield of_classes(column.name, texts, statistics.categories)
        else:
            is_whole = column.dtype is Dtype.INT
            numbers = map(float, texts)
            yield of_numbers(column.name, numbers, statistics.quantiles, is_whole=is_whole)


def _are_classes(column: OutputColumn, texts: Sequence[str], known: PredictionStatistics) -> bool:
    if column.dtype is Dtype.INT and not known.categories:
        return not known.quantiles and len(set(texts)) <= MAX_CLASSES
    return column.dtype is not Dtype.FLOAT
