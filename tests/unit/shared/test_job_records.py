"""What is written to Redis about jobs and chunks reads back as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.chunks import ChunkPlan, ChunkResult, RejectedRows
from shared.feature_counts import FeatureCounts
from shared.job_store import records
from shared.jobs import JobTerms, Lane
from tests.factories import make_plan, make_spec

ROWS = st.lists(st.integers(1, 10**9), min_size=1, max_size=5).map(tuple)
REJECTED = st.just(RejectedRows()) | st.builds(
    RejectedRows, rows=ROWS, lines=ROWS, records=st.binary(max_size=20)
)
COUNTS = st.just(FeatureCounts()) | st.builds(
    FeatureCounts,
    seen=st.integers(1, 10**6),
    rows=st.integers(1, 10**9),
    sums=st.dictionaries(st.from_regex(r"[0-9]{1,3}:[a-z]+[0-9]*", fullmatch=True), st.integers(1)),
)
RESULTS = st.builds(
    ChunkResult,
    results=st.binary(max_size=30),
    errors=st.binary(max_size=30),
    succeeded=st.integers(0, 10**9),
    failed=st.integers(0, 10**9),
    rejected=REJECTED,
    feature_counts=COUNTS,
)


@given(RESULTS)
def test_the_result_of_a_part_reads_back(result: ChunkResult) -> None:
    assert records.parse_result(records.dump_result(result)) == result


@given(COUNTS)
def test_counts_of_features_read_back(counts: FeatureCounts) -> None:
    text = counts.dump()

    assert FeatureCounts.parse(text) == counts
    assert bool(text) == bool(counts.seen)


@given(REJECTED)
def test_failed_rows_read_back(rejected: RejectedRows) -> None:
    text = records.dump_rejects(rejected)

    assert records.parse_rejects(text) == rejected
    assert bool(text) == bool(rejected.rows)


@pytest.mark.parametrize(
    "plan", [make_plan(3), make_plan(rows=2, picked_rows=(5, 9), picked_lines=(6, 11))]
)
def test_a_plan_reads_back_and_is_written_without_what_goes_without_saying(
    plan: ChunkPlan,
) -> None:
    text = records.dump_plan(plan)

    assert records.parse_plan(text) == plan
    assert (b"picked" in text) == bool(plan.picked_rows)


def test_a_new_record_is_all_the_scripts_and_readers_need() -> None:
    spec = make_spec(header=("größe",), deadline_seconds=9, retry_of="job_0", error_threshold=4)
    terms = JobTerms(lane=Lane.SMALL, caller="me", expected_bytes=7, most_in_flight=3)

    pairs = records.new_record(spec, terms, active_seconds=1000, tombstone_seconds=100)

    record = dict(zip(pairs[::2], pairs[1::2], strict=True))
    assert records.parse_spec(record.pop("spec")) == spec
    assert record == {
        "terms": "60 1000 100 9 4",
        "most_in_flight": 3,
        "model": "echo/1",
        "lane": "small",
        "caller": "me",
    }


def test_a_record_says_where_its_end_is_told_if_anybody_waits_for_it() -> None:
    terms = JobTerms(awaited_by="ends:1")

    pairs = records.new_record(make_spec(), terms, active_seconds=1, tombstone_seconds=1)

    assert pairs[-2:] == ["awaited_by", "ends:1"]


def test_a_record_that_was_not_written_here_is_an_error() -> None:
    spec = records.new_record(make_spec(), JobTerms(), active_seconds=1, tombstone_seconds=1)[1]

    with pytest.raises(ValidationError):
        records.parse_job("job_1", {b"spec": spec, b"status": b"odd"}, read_at_ms=1)
