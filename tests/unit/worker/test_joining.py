"""Jobs that are scored together get what each would get alone."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import csv_records
from shared.chunks import ChunkResult
from shared.feature_counts import NOTHING_SEEN
from shared.job_store.leases import Holder, Lease
from shared.jobs import Lane
from shared.model_repository import ModelRepository
from shared.signature import OutputKind
from tests.factories import make_plan, make_spec
from worker.joining import score_together
from worker.model_cache import ModelCache
from worker.predictor import Predictor
from worker.scoring import Slice

SHARED_MODEL = settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def fussy(models: ModelCache, models_dir: Path) -> Predictor:
    return predictor_of(models, models_dir, "fussy")


def predictor_of(models: ModelCache, models_dir: Path, name: str) -> Predictor:
    manifest = ModelRepository(models_dir).resolve(name)
    return models.get(name, manifest.version, sha256=manifest.artifact.sha256)


def make_lease(data: bytes, *, plan: dict[str, Any] | None = None, **spec: Any) -> Lease:
    """A small job with these records, which have a column x."""
    masked = csv_records.mask(data, b",")
    rows = csv_records.count_records(masked, b",")
    return Lease(
        holder=Holder(worker="w", process=1),
        lane=Lane.SMALL,
        job_id="job_1",
        spec=make_spec(**spec),
        plan=make_plan(rows=rows, **(plan or {})),
        token=1,
        attempt=1,
        input=data,
    )


def with_carried(*bodies: bytes) -> list[Lease]:
    """Small jobs of two columns, the second of which the results repeat."""
    return [make_lease(data, header=("x", "k"), carried=("k",)) for data in bodies]


def alone(leases: list[Lease], predictor: Predictor) -> list[ChunkResult]:
    return [
        Slice(lease.input, lease.plan, spec=lease.spec, predictor=predictor).score()
        for lease in leases
    ]


def plain(results: list[ChunkResult]) -> list[tuple[object, ...]]:
    """What results say; beside others a text may stand in quotes that needs none."""
    return [
        (
            list(csv.reader(io.StringIO(result.results.decode(), newline=""))),
            result.errors,
            result.rejected,
            result.feature_counts,
            result.succeeded,
            result.failed,
        )
        for result in results
    ]


class CountingPredictor(Predictor):
    """Counts how many rows it is given at a time."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__(predictor._estimator, predictor.manifest)
        self.batches: list[int] = []

    def predict(self, features: pd.DataFrame, *args: Any, **kwargs: Any) -> Any:
        self.batches.append(len(features))
        return super().predict(features, *args, **kwargs)


# --- one call for all


def test_sound_jobs_are_scored_by_one_call(fussy: Predictor) -> None:
    leases = [make_lease(data) for data in (b"1\n2\n", b"3\n", b"4\n5\n6\n")]
    counting = CountingPredictor(fussy)

    results = score_together(leases, counting)

    assert counting.batches == [6]
    assert results == alone(leases, fussy)
    assert [result.results for result in results] == [
        b"1,10,\n2,20,\n",
        b"1,30,\n",
        b"1,40,\n2,50,\n3,60,\n",
    ]


def test_validations_are_done_together_and_call_no_model(fussy: Predictor) -> None:
    bodies = [b"1\n", b"-2\n-3\n", b"bad\n", b"4\n" * 700]
    leases = [make_lease(body, validate_only=True) for body in bodies]
    counting = CountingPredictor(fussy)

    results = score_together(leases, counting)

    assert counting.batches == []
    assert [(r.succeeded, r.failed) for r in results] == [(1, 0), (2, 0), (0, 1), (700, 0)]
    assert results[1].results == b"1,\n2,\n"
    assert plain(results) == plain(alone(leases, fussy))
    assert all(result.feature_counts == NOTHING_SEEN for result in results)


def test_a_job_with_a_fault_leaves_most_others_together(fussy: Predictor) -> None:
    leases = [make_lease(b"%d\n" % number) for number in range(64)]
    leases[20] = make_lease(b"1\nx\n2\n")
    counting = CountingPredictor(fussy)

    results = score_together(leases, counting)

    assert results == alone(leases, fussy)
    assert len(counting.batches) <= 2 * 6 + 1


# --- what a job may hold


@pytest.mark.parametrize(
    "bodies",
    [
        [b"1\r\n2\r\n", b"3\r\n"],
        [b"1\n2\n", b"3\r\n4\r\n", b"5\r6\r", b"7\n8\r\n9\r0"],
        [b"1\r", b"\n2\n", b"3"],
        [b"1\r", b"\r\n\n2\r\n", b"\n\n3\n\n"],
        [b"1", b"2\n3", b"4"],
        [b"1\n\n2\n \n", b"\n \n3", b" \t\n4\n\t"],
        [b'"1"\n""\n', b'""\n"2"', b'"3"'],
        [b'1\n"2\n"', b"3\n", b'"\n4"'],
        [b"1\nx\n2\n", b"3\n", b"-1\n"],
        [b"inf\n", b"\n4\n", b"1,2\n3\n", b"\xff\n5\n", b"6\0\n7\n"],
        [b"true\n", b"1\n", b"5\n", b"false\ntrue\n"],
        [b"nan\n", b"NA\n1\n", b'""\n'],
        [b"1e400\n", b"1e308\n", b"-0.0\n", b"9007199254740993\n"],
        [b"\xef\xbb\xbf1\n", b"\xef\xbb\xbf2\n3\n"],
    ],
)
def test_every_job_gets_what_it_gets_alone(fussy: Predictor, bodies: list[bytes]) -> None:
    leases = [make_lease(data) for data in bodies]

    for some in (leases, leases[::-1], leases * 2):
        assert score_together(some, fussy) == alone(some, fussy)


@pytest.mark.parametrize(
    "bodies",
    [
        [b"1,a\n2,b\n", b"3,\xc3\xa9"],
        [b'1,"a\nb"\n', b"2,c\n", b'3,"d"\n'],
        [b'1,"a\r\nb"\r\n', b"2,c\n", b'3,"d"\r'],
        [b'1,"say ""x"""\n', b'2,","\n3,"\r"\n', b'4,""'],
        [b"1\n2,b\n", b"3,c\n", b"4,d,e\n"],
        [b"x,a\n", b'-1,"b\nc"\n2,d\n', b"3,e\n"],
        [b"1,\n2,\n", b"3,NA\n", b"4, f \n"],
        [b'1,a"b\n', b'2,a""\n', b"3,'c\n"],
    ],
)
def test_every_job_gets_its_carried_texts_back(fussy: Predictor, bodies: list[bytes]) -> None:
    leases = with_carried(*bodies)

    for some in (leases, leases[::-1]):
        assert plain(score_together(some, fussy)) == plain(alone(some, fussy))


def test_rows_and_lines_are_numbered_as_in_the_input_of_each_job(fussy: Predictor) -> None:
    picked = {"picked_rows": (3, 8, 9), "picked_lines": (4, 11, 12)}
    leases = [
        make_lease(b"1\n2\n"),
        make_lease(b"3\n4\nx\n", plan=picked),
        make_lease(b"5\n6\n7\n", plan=picked),
        make_lease(b"\n\n8\n-1\n", plan={"first_row": 1, "first_line": 2}),
    ]

    results = score_together(leases, fussy)

    assert results == alone(leases, fussy)
    assert results[1].rejected.rows == (9,)
    assert results[2].results == b"3,50,\n8,60,\n9,70,\n"
    assert results[3].errors.startswith(b"2,5,,prediction_failed,")


@pytest.mark.parametrize("name", ["forest", "boosted"])
@pytest.mark.parametrize("output", list(OutputKind))
def test_trees_give_the_same_bits(
    models: ModelCache, models_dir: Path, numbers: pd.DataFrame, name: str, output: OutputKind
) -> None:
    predictor = predictor_of(models, models_dir, name)
    if output not in predictor.manifest.signature.outputs:
        pytest.skip("a regressor")
    tables = [numbers[start : start + rows] for start, rows in ((0, 1), (1, 7), (8, 2), (10, 90))]
    leases = [
        make_lease(
            table.to_csv(index=False, header=False, lineterminator="\n").encode(),
            header=("a", "b", "c"),
            output=output,
        )
        for table in tables
    ]

    assert score_together(leases, predictor) == alone(leases, predictor)


# --- any mix

RECORDS = st.sampled_from(
    [b"1", b"2.5", b"-1", b"x", b'"3"', b"", b" ", b"4,a", b'5,"b\nc"', b"\xff", b"6\0", b"inf"]
)
PIECES = st.sampled_from(
    [b"1", b"-1", b"x", b" ", b"\t", b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"\xff", b"\0"]
)


@st.composite
def written_bodies(draw: st.DrawFn) -> bytes:
    """Records with line ends of one kind or of all, the last one with or without one."""
    records = draw(st.lists(RECORDS, min_size=1, max_size=5))
    ends = st.sampled_from(draw(st.sampled_from([[b"\n"], [b"\r\n"], [b"\n", b"\r\n", b"\r"]])))
    body = b"".join(record + draw(ends) for record in records)
    return body.rstrip(b"\r\n") if draw(st.booleans()) else body


def is_taken_in(body: bytes) -> bool:
    """Whether it has rows, its quotes are closed, and pandas reads it as RFC 4180 has it."""
    rows = csv_records.count_records(csv_records.mask(body, b","), b",")
    is_misread = re.search(rb"(?:\A|[\r\n])[ \t]*\r,", body)
    return bool(rows) and not is_misread and not csv_records.ends_inside_quotes(body, b",")


BODIES = st.one_of(written_bodies(), st.lists(PIECES, min_size=1, max_size=8).map(b"".join)).filter(
    is_taken_in
)


@SHARED_MODEL
@given(bodies=st.lists(BODIES, min_size=2, max_size=6))
def test_any_mix_of_jobs_scored_together_is_as_good_as_one_by_one(
    fussy: Predictor, bodies: list[bytes]
) -> None:
    for leases in ([make_lease(data) for data in bodies], with_carried(*bodies)):
        assert plain(score_together(leases, fussy)) == plain(alone(leases, fussy))


@SHARED_MODEL
@given(cuts=st.lists(st.integers(1, 30), min_size=1, max_size=12), bad=st.sets(st.integers(0, 11)))
def test_any_mix_of_jobs_of_trees_gives_the_same_bits(
    models: ModelCache, models_dir: Path, numbers: pd.DataFrame, cuts: list[int], bad: set[int]
) -> None:
    predictor = predictor_of(models, models_dir, "forest")
    leases, start = [], 0
    for number, rows in enumerate(cuts):
        table = numbers[start : start + rows]
        data = table.to_csv(index=False, header=False, lineterminator="\n").encode()
        data += b"x,y,z\n" if number in bad else b""
        leases.append(make_lease(data, header=("a", "b", "c")))
        start += rows

    assert score_together(leases, predictor) == alone(leases, predictor)


def test_a_model_that_refuses_a_row_refuses_it_in_its_job_alone(fussy: Predictor) -> None:
    leases = [make_lease(data) for data in (b"1\n", b"2\n-2\n3\n", b"4\n")]

    results = score_together(leases, fussy)

    assert [(result.succeeded, result.failed) for result in results] == [(1, 0), (2, 1), (1, 0)]
    assert results[1].rejected.records == b"-2\n"


def test_one_job_is_scored_as_ever(fussy: Predictor) -> None:
    leases = [make_lease(b"1\nx\n")]

    assert score_together(leases, fussy) == alone(leases, fussy)
    assert score_together([replace(leases[0], input=b"1\n2")], fussy)[0].succeeded == 2
