"""What a client says to each service to have one small table scored.

A conversation is a generator: it yields requests as bytes, or a Pause, and is sent the answer to
each. What it returns is the body that holds the predictions.
"""

import json
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from benchmarks.answers import Answer, request

CSV = "Content-Type: text/csv\r\n"
JSON = "Content-Type: application/json\r\n"
WAIT = "Prefer: wait=60\r\n"

SMALL_POLL_SECONDS = 0.02
"""How often the textbook's client asks for a small job."""


@dataclass(frozen=True)
class Pause:
    """So long the client does nothing."""

    seconds: float


Conversation = Generator[bytes | Pause, Answer, bytes]


class RefusedError(Exception):
    """The service did not answer as it does when all goes well."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.body[:300].decode(errors='replace')}")
        self.status = answer.status


def good(answer: Answer, *statuses: int) -> Answer:
    """The answer itself. Raises RefusedError when it has another status."""
    if answer.status not in statuses:
        raise RefusedError(answer)
    return answer


def document(answer: Answer, *statuses: int) -> dict[str, Any]:
    """The JSON of a good answer."""
    return dict(json.loads(good(answer, *statuses).body))


def rowmill_job(body: bytes, *, query: str) -> Conversation:
    """Submit and wait, then download."""
    job = document((yield request("POST", f"/jobs?{query}", body, CSV + WAIT)), 202)
    while job["finished_at"] is None:
        job = document((yield request("GET", job["urls"]["self"], headers=WAIT)), 200)
    return good((yield request("GET", job["urls"]["results"])), 200).body


def rowmill_predict(body: bytes, *, query: str) -> Conversation:
    """One request."""
    return good((yield request("POST", f"/predict?{query}", body, CSV + WAIT)), 200).body


def has_succeeded(answer: Answer) -> bool:
    """Whether a textbook job has its result. Raises RefusedError when it won't have any."""
    state = document(answer, 200)["state"]
    if state == "FAILURE":
        raise RefusedError(answer)
    return bool(state == "SUCCESS")


def textbook_job(body: bytes, *, query: str) -> Conversation:
    """Submit, poll, download."""
    job = document((yield request("POST", f"/jobs?{query}", body, CSV)), 202)
    url = f"/jobs/{job['id']}"
    while not has_succeeded((yield request("GET", url))):
        yield Pause(SMALL_POLL_SECONDS)
    return good((yield request("GET", f"{url}/result")), 200).body


def mlserver_infer(body: bytes, *, model: str) -> Conversation:
    """One request."""
    return good((yield request("POST", f"/v2/models/{model}/infer", body, JSON)), 200).body
