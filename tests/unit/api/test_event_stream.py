"""Snapshots of a job as server-sent events."""

import json
from collections.abc import Iterator

from api import event_stream
from shared.errors import JobGoneError, StoreUnavailableError
from shared.jobs import Job, JobStatus
from tests.factories import make_spec

SEEN = "running-10-0-0"


def make_job(**changes: object) -> Job:
    defaults: dict[str, object] = {
        "id": "job_1",
        "spec": make_spec(),
        "status": JobStatus.RUNNING,
        "total": 10,
        "succeeded": 0,
        "failed": 0,
        "chunks_total": 2,
        "chunks_done": 0,
        "created_at_ms": 1,
        "expires_at_ms": 9,
        "read_at_ms": 1,
    }
    return Job(**defaults | changes)


def describe(job: Job) -> dict[str, object]:
    return {"id": job.id, "text": "two\nlines, \u2028 and more"}


def streamed(*jobs: Job | None, last_id: str | None = None, **options: object) -> list[bytes]:
    options = {"is_over": bool} | options
    return list(event_stream.stream(jobs, describe, last_id=last_id, **options))


def test_an_event_is_told_in_four_lines() -> None:
    event = event_stream.event(make_job(), describe)

    identity, name, data, *rest = event.decode().split("\n")
    assert (identity, name, rest) == ("id: running-10-0-0", "event: progress", ["", ""])
    assert json.loads(data.removeprefix("data: ")) == describe(make_job())


def test_the_end_has_a_name_of_its_own() -> None:
    ends = [JobStatus.SUCCEEDED, JobStatus.PARTIALLY_SUCCEEDED, JobStatus.FAILED]
    for status in (*ends, JobStatus.CANCELLED):
        event = event_stream.event(make_job(status=status), describe)
        assert event.startswith(b"id: %b-10-0-0\nevent: completed\n" % status.encode())


def test_what_looks_the_same_is_told_once() -> None:
    jobs = [make_job(), make_job(read_at_ms=2), None, make_job(succeeded=1, read_at_ms=3)]

    beginning, *texts = streamed(*jobs)

    assert beginning == b"retry: 2000\n\n"
    assert [text[:20] for text in texts] == [
        b"id: running-10-0-0\ne",
        b"",
        b"",
        b"id: running-10-1-0\ne",
    ]


def test_what_was_seen_is_not_told_again() -> None:
    assert streamed(make_job(), last_id=SEEN)[1:] == [b""]
    assert streamed(make_job(failed=1), last_id=SEEN)[1] != b""
    assert streamed(make_job(), last_id="another's")[1] != b""


def test_silence_is_broken_by_comments() -> None:
    jobs = [None, make_job(), make_job()]

    texts = streamed(*jobs, last_id=SEEN, keep_alive_seconds=0)

    assert texts[1:] == [b": keep-alive\n\n"] * 3
    assert streamed(*jobs, last_id=SEEN)[1:] == [b""] * 3


def test_a_stream_ends_when_the_server_stops_but_the_end_of_the_job_is_told() -> None:
    def always() -> bool:
        return True

    ended = make_job(status=JobStatus.SUCCEEDED)
    assert streamed(None, make_job(), is_over=always)[1:] == [b""]
    assert b"completed" in streamed(ended, is_over=always)[1]


def test_a_stream_ends_where_there_is_nothing_more_to_tell() -> None:
    def broken(error: Exception) -> Iterator[Job]:
        yield make_job()
        raise error

    for error in (JobGoneError("job_1", "deleted"), StoreUnavailableError()):
        texts = list(event_stream.stream(broken(error), describe, last_id=SEEN, is_over=bool))
        assert texts == [event_stream.BEGINNING, b""]
