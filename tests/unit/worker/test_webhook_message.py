"""The message about a job's end, and who can tell that it is genuine."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from shared.jobs import Job, JobStatus, new_job_id
from tests.factories import make_spec
from tests.receivers import OTHER_SECRET, SECRET
from worker.webhook_message import Signer, message


def make_job(**changes: Any) -> Job:
    defaults: dict[str, Any] = {
        "id": new_job_id(),
        "spec": make_spec(),
        "status": JobStatus.SUCCEEDED,
        "total": 3,
        "succeeded": 3,
        "failed": 0,
        "chunks_total": 1,
        "chunks_done": 1,
        "created_at_ms": 1_000,
        "finished_at_ms": 2_500,
        "expires_at_ms": 62_500,
        "read_at_ms": 3_000,
        "callback_url": "https://example.com/?token=secret",
    }
    return Job(**defaults | changes)


@pytest.mark.parametrize("status", ["succeeded", "partially_succeeded", "failed", "cancelled"])
def test_the_type_says_how_the_job_ended_and_the_time_when(status: str) -> None:
    told = json.loads(message(make_job(status=JobStatus(status))))

    assert told["type"] == f"job.{status}"
    assert told["timestamp"] == "1970-01-01T00:00:02.500Z"
    assert told["data"]["status"] == status


def test_the_message_is_the_same_whenever_it_is_made_and_does_not_repeat_the_url() -> None:
    job = make_job(error_code="all_rows_failed", error_detail="Nö.")

    assert message(job) == message(make_job(**vars(job) | {"read_at_ms": 99_000}))
    assert b"secret" not in message(job)
    assert json.loads(message(job))["data"]["error"] == {
        "code": "all_rows_failed",
        "detail": "Nö.",
    }


def test_every_secret_signs_and_no_other_does() -> None:
    body = message(make_job(error_detail="Nö.", error_code="x"))
    headers = dict(Signer([SECRET, OTHER_SECRET]).headers("job_1", body, now=datetime.now(UTC)))

    assert Webhook(SECRET).verify(body, headers) == Webhook(OTHER_SECRET).verify(body, headers)
    assert headers["webhook-id"] == "job_1"
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 32).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + b" ", headers)
