"""A handle: one job and what can be done with it."""

import io
import json

import pyarrow as pa
import pytest

from rowmill.errors import IncompleteWarning, JobFailedError
from rowmill.jobs import job_from_json
from rowmill.row_errors import RowError, row_errors_from

ERRORS = [
    {"row": 2, "line": 3, "column": "x", "code": "not_a_number", "message": "Column 'x' …"},
    {"row": 9, "line": 12, "column": None, "code": "wrong_field_count", "message": "It has 3."},
]
NDJSON = "".join(json.dumps(error, ensure_ascii=False) + "\n" for error in ERRORS).encode()


@pytest.fixture
def handle(client, server, job_document):
    server.say("POST", "/jobs", status=202, json_body=job_document("queued", succeeded=0))
    return client.submit(b"a\n1\n")


def test_a_handle_knows_the_job_as_it_was_last_seen(handle, server, job_document):
    server.say("GET", "/jobs/job_1", json_body=job_document("running", succeeded=4))
    before = repr(handle)

    status = handle.status()

    assert before == "<JobHandle job_1: queued, 0 of 10 rows>"
    assert status == handle.job.status == handle.document["status"] == "running"
    assert repr(handle) == "<JobHandle job_1: running, 4 of 10 rows>"


def test_a_handle_is_had_again_by_its_id(client, server, job_document):
    server.say("GET", "/jobs/job_1", json_body=job_document("succeeded", succeeded=10))

    assert client.handle("job_1").job.succeeded == 10


def test_wait_tells_every_sighting_and_keeps_the_last(handle, server, job_document):
    server.say("GET", "/jobs/job_1", json_body=job_document("running"))
    server.say("GET", "/jobs/job_1", json_body=job_document("succeeded", succeeded=10))
    seen = []

    job = handle.wait(progress=lambda job: seen.append(job.status))

    assert seen == ["running", "succeeded"]
    assert job is handle.job


def test_a_job_that_failed_raises_and_is_known_to_have(handle, server, job_document):
    error = {"code": "all_rows_failed", "detail": "No row could be scored."}
    server.say("GET", "/jobs/job_1", json_body=job_document("failed", error=error))

    with pytest.raises(JobFailedError):
        handle.wait(timeout=10)

    assert handle.job.has_ended


def test_a_job_with_bad_rows_that_failed_is_told_with_the_first_of_them(
    handle, server, job_document
):
    error = {"code": "all_rows_failed", "detail": "No row could be scored; see the row errors."}
    ended = job_document("failed", succeeded=0, failed=10, error=error)
    server.say("GET", "/jobs/job_1", json_body=ended)
    server.say("GET", "/jobs/job_1/errors", body=NDJSON)

    with pytest.raises(JobFailedError, match=r"see the row errors\. Row 2: Column 'x' … See 'row"):
        handle.wait()

    assert server.requests[-1].target == "/jobs/job_1/errors?limit=1"


def test_what_is_left_of_a_job_that_was_cancelled_is_no_whole_frame(handle, server, job_document):
    sink = io.BytesIO()
    table = pa.table({"row": [1, 2, 3, 4], "prediction": [1.0] * 4, "error": [""] * 4})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    server.say("GET", "/jobs/job_1", json_body=job_document("cancelled", succeeded=4))
    server.say("GET", "/jobs/job_1/results", body=sink.getvalue())

    with pytest.warns(
        IncompleteWarning, match="hold 4 of the 10 rows taken in: the job was cancelled"
    ):
        predictions = handle.to_pandas()

    assert len(predictions) == 4


@pytest.mark.parametrize(
    ("code", "shortfall"),
    [
        ("all_rows_failed", ""),
        ("upload_incomplete", "The results hold 10 of the 10 rows taken in: the job failed."),
    ],
)
def test_a_failed_job_whose_rows_are_all_done_lacks_none_unless_its_input_does(
    job_document, code, shortfall
):
    document = job_document("failed", succeeded=0, failed=10)
    document["error"] = {"code": code, "detail": "…"}

    assert job_from_json(document).shortfall == shortfall


def test_row_errors_are_typed(handle, server):
    server.say("GET", "/jobs/job_1/errors", body=NDJSON)

    first, second = handle.errors()

    assert first == RowError(**ERRORS[0])
    assert second.column is None
    assert server.requests[-1].headers["Accept"] == "application/x-ndjson"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_row_errors_are_read_however_the_bytes_come(size):
    blocks = [NDJSON[at : at + size] for at in range(0, len(NDJSON), size)]

    assert [error.row for error in row_errors_from(blocks)] == [2, 9]


def test_a_download_has_the_format_that_its_name_promises(handle, server, tmp_path):
    server.say("GET", "/jobs/job_1/results", body=b"{}\n")

    handle.download(tmp_path / "out.ndjson")
    handle.download(tmp_path / "out")
    handle.download(tmp_path / "out.csv", "parquet")

    accepted = [request.headers["Accept"] for request in server.requests[1:]]
    assert accepted == ["application/x-ndjson", "text/csv", "application/vnd.apache.parquet"]


def test_parts_of_results_are_asked_for(handle, server):
    server.say("GET", "/jobs/job_1/results", body=b"row\n")

    list(handle.results(offset=20, limit=10))
    list(handle.results(follow=True))

    targets = [request.target.partition("?")[2] for request in server.requests[1:]]
    assert targets == ["offset=20&limit=10", "follow=true"]


def test_cancel_retry_and_delete_tell_the_server(handle, server, job_document):
    server.say("POST", "/jobs/job_1/cancel", status=202, json_body=job_document("cancelled"))
    server.say("POST", "/jobs/job_1/retry", status=202, json_body=job_document(id="job_2"))
    server.say("DELETE", "/jobs/job_1", status=204)

    assert handle.cancel().status == handle.job.status == "cancelled"
    assert handle.retry().id == "job_2"
    handle.delete()

    assert server.requests[-1].method == "DELETE"


def test_the_log_of_a_callback_is_typed(handle, server):
    attempt = {"at": "2025-01-01T00:00:02Z", "status": 503, "error": "", "duration_seconds": 0.2}
    log = {"state": "pending", "url": "https://example.org/done", "attempts": [attempt]}
    log["next_attempt_at"] = "2025-01-01T00:00:07Z"
    server.say("GET", "/jobs/job_1/deliveries", json_body=log)

    deliveries = handle.deliveries()

    assert (deliveries.state, deliveries.url) == ("pending", "https://example.org/done")
    assert deliveries.attempts[0].status == 503
    assert (deliveries.next_attempt_at - deliveries.attempts[0].at).total_seconds() == 5
