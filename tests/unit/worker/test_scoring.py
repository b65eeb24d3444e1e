"""Rows have the same outcome alone, in a part or in a whole chunk."""

import csv
import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.chunks import ChunkResult, joined
from shared.job_store.leases import Holder, Lease
from shared.jobs import Lane
from shared.model_repository import ModelRepository
from shared.signature import OutputKind
from shared.suspicion import Rows
from tests.factories import make_feature, make_manifest, make_plan, make_signature, make_spec
from worker.model_cache import ModelCache
from worker.predictor import Predictor
from worker.records import ChunkRecords
from worker.scoring import slice_of


@pytest.fixture
def fussy(models: ModelCache, models_dir: Path) -> Predictor:
    return predictor_of(models, models_dir, "fussy")


def predictor_of(models: ModelCache, models_dir: Path, name: str) -> Predictor:
    manifest = ModelRepository(models_dir).resolve(name)
    return models.get(name, manifest.version, sha256=manifest.artifact.sha256)


def make_lease(data: bytes, *, rows: int, **spec: Any) -> Lease:
    return Lease(
        holder=Holder(worker="w", process=1),
        lane=Lane.BULK,
        job_id="job_1",
        spec=make_spec(**spec),
        plan=make_plan(rows=rows),
        token=1,
        attempt=1,
        input=data,
    )


def score(lease: Lease, predictor: Predictor, *, cuts: tuple[int, ...] = ()) -> ChunkResult:
    """The result of a chunk that is cut into parts at these positions."""
    records = ChunkRecords(lease.input, lease.spec, rows=lease.plan.rows)
    ends = [0, *sorted(set(cuts)), lease.plan.rows]
    parts = [Rows(first=a, behind=b) for a, b in pairwise(ends)]
    return joined([slice_of(lease, records, part, predictor).score() for part in parts])


RECORDS = [
    b"1,a\n",
    b'-1,"b"\n',
    b"2\n",
    b"x,y\n",
    b'3.5,"c\nd"\n',
    b"\xff,1\n",
    b"inf,\n\n",
    b'5,"say ""x"""\r\n',
    b"6,\0\n",
]


def test_scoring_a_chunk_twice_gives_the_same_bytes(fussy: Predictor) -> None:
    lease = make_lease(b"".join(RECORDS), rows=9, header=("x", "k"), carried=("k",))

    results = [score(lease, fussy) for _ in range(3)]

    assert results[0] == results[1] == results[2]
    assert (results[0].succeeded, results[0].failed) == (3, 6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(st.sampled_from(RECORDS), min_size=2, max_size=12),
    cuts=st.sets(st.integers(1, 11)),
)
def test_a_chunk_cut_into_parts_gives_the_same_rows_errors_and_rejects(
    fussy: Predictor, records: list[bytes], cuts: set[int]
) -> None:
    rows = len(records)
    lease = make_lease(b"".join(records), rows=rows, header=("x", "k"), carried=("k",))

    whole = score(lease, fussy)
    parts = score(lease, fussy, cuts=tuple(cut for cut in cuts if cut < rows))

    assert cells(parts.results) == cells(whole.results)
    assert parts.errors == whole.errors
    assert parts.rejected == whole.rejected
    assert parts.feature_counts == whole.feature_counts
    assert (parts.succeeded, parts.failed) == (whole.succeeded, whole.failed)


def cells(lines: bytes) -> list[list[str]]:
    """Parts of a chunk may quote where the whole does not."""
    return list(csv.reader(io.StringIO(lines.decode(), newline="")))


@pytest.mark.parametrize("output", ["predict", "predict_proba", "decision_function"])
def test_a_row_has_the_same_prediction_in_every_chunk(
    models: ModelCache, models_dir: Path, numbers: pd.DataFrame, output: str
) -> None:
    lines = numbers[:15].to_csv(index=False, header=False, lineterminator="\n").encode()
    predictor = predictor_of(models, models_dir, "boosted")
    lease = make_lease(lines, rows=15, header=("a", "b", "c"), output=OutputKind(output))

    assert score(lease, predictor, cuts=tuple(range(1, 15))) == score(lease, predictor)


def test_row_errors_come_in_the_order_of_the_rows(fussy: Predictor) -> None:
    lease = make_lease(b"-1\nx\n1,2\n-2\n\xff\n", rows=5)

    errors = score(lease, fussy).errors

    found = [(line.split(b",")[0], line.split(b",")[3]) for line in errors.splitlines()]
    assert found == [
        (b"1", b"prediction_failed"),
        (b"2", b"not_a_number"),
        (b"3", b"wrong_field_count"),
        (b"4", b"prediction_failed"),
        (b"5", b"invalid_utf8"),
    ]


def test_refused_rows_carry_their_text_and_an_error_each(fussy: Predictor) -> None:
    lease = make_lease(b'1,a\nx,b\n3,"c\nd"\n', rows=3, header=("x", "k"), carried=("k",))
    records = ChunkRecords(lease.input, lease.spec, rows=3)

    rows = slice_of(lease, records, Rows(first=0, behind=3), fussy)
    result = rows.refuse("row_crashed_worker", "It died.")

    assert cells(result.results) == [
        ["1", "a", "", "row_crashed_worker"],
        ["2", "b", "", "not_a_number"],
        ["3", "c\nd", "", "row_crashed_worker"],
    ]
    assert (result.succeeded, result.failed) == (0, 3)
    assert result.rejected.records == lease.input
    assert [line[:2] for line in cells(result.errors)] == [["1", "2"], ["2", "3"], ["3", "4"]]


def test_rows_of_a_retry_keep_their_numbers_and_lines(fussy: Predictor) -> None:
    plan = make_plan(rows=4, picked_rows=(3, 8, 9, 40), picked_lines=(4, 11, 12, 50))
    lease = make_lease(b"1\n-1\nx\n2\n", rows=4)
    retried = replace(lease, plan=plan)

    for cuts in ((), (1,), (2, 3)):
        result = score(retried, fussy, cuts=cuts)

        assert cells(result.results) == [
            ["3", "10", ""],
            ["8", "", "prediction_failed"],
            ["9", "", "not_a_number"],
            ["40", "20", ""],
        ]
        assert [line[:2] for line in cells(result.errors)] == [["8", "11"], ["9", "12"]]
        assert (result.rejected.rows, result.rejected.lines) == ((8, 9), (11, 12))


class Overwriting:
    """An estimator that works in the array it is given."""

    feature_names_in_ = ("a", "b")

    def predict(self, X: pd.DataFrame) -> npt.NDArray[np.float64]:
        values = np.asarray(X)
        values *= 2
        return values.sum(axis=1)


def test_a_model_may_write_into_the_array_it_is_given() -> None:
    signature = make_signature(make_feature("a"), make_feature("b"))
    predictor = Predictor(Overwriting(), make_manifest(signature=signature))

    result = score(make_lease(b"1,2\n3,4\n", rows=2, header=("a", "b")), predictor)

    assert (result.results, result.failed) == (b"1,6,\n2,14,\n", 0)
