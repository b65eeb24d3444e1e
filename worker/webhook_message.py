"""The message by which a job's end is told, as Standard Webhooks has it (standardwebhooks.com).

It is the same on every attempt, its id too, so that a receiver can tell that it has had it already.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from standardwebhooks import Webhook

from shared.jobs import Job
from shared.times import rfc3339

USER_AGENT = "Rowmill"


def message(job: Job) -> bytes:
    """The body about the end of a job, in JSON: what happened, when, and the job in short."""
    document = {
        "type": f"job.{job.status}",
        "timestamp": rfc3339(job.finished_at_ms),
        "data": _job(job),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _job(job: Job) -> dict[str, Any]:
    """Members of the job object of the HTTP contract."""
    path = f"/jobs/{job.id}"
    return {
        "id": job.id,
        "status": job.status,
        "model": {
            "name": job.spec.model_name,
            "version": job.spec.model_version,
            "sha256": job.spec.model_sha256,
        },
        "counts": {
            "total": job.total,
            "succeeded": job.succeeded,
            "failed": job.failed,
            "pending": job.pending,
        },
        "created_at": rfc3339(job.created_at_ms),
        "finished_at": rfc3339(job.finished_at_ms),
        "expires_at": rfc3339(job.expires_at_ms),
        "error": {"code": job.error_code, "detail": job.error_detail} if job.error_code else None,
        "retry_of": job.spec.retry_of,
        "urls": {"self": path, "results": f"{path}/results", "errors": f"{path}/errors"},
    }


class Signer:
    """Signs messages by one secret, or by several while one takes the place of another."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._webhooks = [Webhook(secret) for secret in secrets]

    def headers(self, job_id: str, body: bytes, *, now: datetime) -> Mapping[str, str]:
        """The headers of a request with this body. There is one message about a job, so the job's
        id is the message's."""
        text = body.decode()
        signatures = [webhook.sign(job_id, now, text) for webhook in self._webhooks]
        return {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": job_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
