"""Jobs and models on the wire say what the records say."""

import csv
import io
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import representations
from api.representations import (
    job_document,
    template_csv,
)
from shared.jobs import Job, JobStatus
from tests.factories import make_feature, make_manifest, make_signature, make_spec


def make_job(**changes: Any) -> Job:
    defaults: dict[str, Any] = {
        "id": "job_1",
        "spec": make_spec(),
        "status": JobStatus.RUNNING,
        "total": 100,
        "succeeded": 20,
        "failed": 5,
        "chunks_total": 4,
        "chunks_done": 1,
        "created_at_ms": 1_750_000_000_000,
        "started_at_ms": 1_750_000_001_000,
        "expires_at_ms": 1_750_000_060_000,
        "read_at_ms": 1_750_000_002_000,
    }
    return Job(**defaults | changes)


def test_a_job_document_counts_every_row_once() -> None:
    document = job_document(make_job())

    assert document["counts"] == {"total": 100, "succeeded": 20, "failed": 5, "pending": 75}
    assert document["progress"]["ratio"] == 0.25
    assert document["progress"]["rows_per_second"] == 25
    assert document["progress"]["eta_seconds"] == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"total": 0, "succeeded": 0, "failed": 0},
        {"succeeded": 0, "failed": 0},
        {"started_at_ms": None, "succeeded": 0, "failed": 0},
        {"status": JobStatus.CANCELLED},
    ],
)
def test_what_is_not_known_yet_is_null(changes: dict[str, Any]) -> None:
    assert job_document(make_job(**changes))["progress"]["eta_seconds"] is None


def test_times_are_utc_with_milliseconds() -> None:
    document = job_document(replace(make_job(), finished_at_ms=None))

    assert document["created_at"] == "2025-06-15T15:06:40.000Z"
    assert document["finished_at"] is None


def test_an_error_of_the_job_is_told_with_its_code() -> None:
    job = make_job(status=JobStatus.FAILED, error_code="all_rows_failed", error_detail="None.")

    assert job_document(make_job())["error"] is None
    assert job_document(job)["error"] == {"code": "all_rows_failed", "detail": "None."}


def test_a_template_is_a_csv_that_could_be_sent() -> None:
    features = (
        make_feature("a,b", example=1.5),
        make_feature("s", "string", example='x"y'),
        make_feature("gap", "string"),
    )

    template = template_csv(make_manifest(signature=make_signature(*features)))

    assert list(csv.reader(io.StringIO(template))) == [["a,b", "s", "gap"], ["1.5", 'x"y', ""]]


@pytest.mark.parametrize(("lost", "times"), [(1, "once"), (2, "2 times")])
def test_a_job_warns_of_the_processes_that_were_lost_over_it(lost: int, times: str) -> None:
    assert job_document(make_job())["warnings"] == []

    (warning,) = job_document(make_job(attempts_lost=lost))["warnings"]

    assert times in warning
    assert "others took over" in warning


@given(st.lists(st.binary(max_size=50)), st.integers(1, 20))
def test_pieces_are_the_same_bytes_and_none_is_too_large(texts: list[bytes], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(representations, "PIECE_BYTES", size)
        pieces = list(representations.in_pieces(iter(texts)))

    assert b"".join(pieces) == b"".join(texts)
    assert all(len(piece) <= size for piece in pieces)
    assert pieces.count(b"") == texts.count(b"")
