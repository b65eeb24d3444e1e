"""Clients that send jobs, some of them badly, and do not give up before a job is accepted."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests

from tests.chaos import model
from tests.chaos.chance import seeded
from tests.chaos.jobs import ChaosJob, Manner

THREADS = 8

PATIENCE_SECONDS = 90.0
"""How long a client repeats its request; the longest outage the monkey makes is far shorter."""

ANSWER_SECONDS = 30.0
"""How long a client waits for an answer before it repeats the request."""

MAX_RETRY_AFTER_SECONDS = 2.0
"""A `Retry-After` beyond this is cut: the suite has not the time that a real caller has."""

RETRIED_STATUSES = {409, 429, 502, 503, 504}
"""409: the first attempt with the same key is still arriving."""

CONNECTION_ERRORS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)

SLOW_UPLOAD_PIECES = 8


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A job that the API has promised to do."""

    job: ChaosJob
    job_id: str


class RefusedError(Exception):
    """The API will not take a job it should take."""


class Client:
    """Sends one job until it is accepted. Safe to share by threads."""

    def __init__(self, api_url: str, *, seed: int, model_name: str = model.NAME) -> None:
        self._api_url = api_url
        self._seed = seed
        self._model_name = model_name
        self.answers: Counter[str] = Counter()
        """How often each kind of answer to a submission came; threads may lose a count."""

    def submit(self, job: ChaosJob, stopping: threading.Event) -> Accepted | None:
        """The promise, or None for a job that is abandoned. Raises RefusedError."""
        chance = seeded("client", self._seed, job.number)
        body = job.body()
        if job.manner is Manner.TWICE:
            self._begin(job, body, share=1.0).close()
        elif job.manner is Manner.ABANDONED:
            self._begin(job, body, share=chance.uniform(0.1, 0.9)).close()
            return None
        with ExitStack() as dangling:
            if job.manner is Manner.BROKEN:
                upload = self._begin(job, body, share=chance.uniform(0.1, 0.9))
                dangling.callback(upload.close)
            deadline = time.monotonic() + PATIENCE_SECONDS + job.upload_seconds
            while time.monotonic() < deadline and not stopping.is_set():
                delay_seconds = chance.uniform(0.1, 0.5)
                seconds = job.upload_seconds or chance.uniform(0, 2)
                promise, asked_seconds = self._try(job, body, seconds, stopping)
                if promise:
                    return promise
                dangling.close()
                stopping.wait(delay_seconds + min(asked_seconds, MAX_RETRY_AFTER_SECONDS))
        raise RefusedError(f"job {job.number}: no 202 in time; so far: {dict(self.answers)}")

    def _try(
        self, job: ChaosJob, body: bytes, seconds: float, stopping: threading.Event
    ) -> tuple[Accepted | None, float]:
        """The promise if it is given, and how long to wait if it is not. Raises RefusedError."""
        try:
            answer = self._post(job, body, seconds, stopping)
        except CONNECTION_ERRORS as error:
            self.answers[type(error).__name__] += 1
            return None, 0.0
        self.answers[_kind(answer)] += 1
        if answer.status_code == 202:
            return Accepted(job=job, job_id=answer.json()["id"]), 0.0
        if answer.status_code not in RETRIED_STATUSES:
            raise RefusedError(f"job {job.number}: {answer.status_code} {answer.text}")
        return None, float(answer.headers.get("Retry-After", 0))

    def _post(
        self, job: ChaosJob, body: bytes, seconds: float, stopping: threading.Event
    ) -> requests.Response:
        is_slow = job.manner is Manner.SLOWLY
        return requests.post(
            f"{self._api_url}/jobs",
            params={"model": self._model_name},
            headers=_headers(job),
            data=_pieces(body, seconds, stopping) if is_slow else body,
            timeout=(5, ANSWER_SECONDS),
        )

    def _begin(self, job: ChaosJob, body: bytes, *, share: float) -> http.client.HTTPConnection:
        """A connection on which that share of the body has been sent, and no answer read."""
        self.answers["hung up"] += 1
        connection = http.client.HTTPConnection(urlsplit(self._api_url).netloc, timeout=5)
        with suppress(OSError):  # the monkey may be faster
            connection.putrequest("POST", f"/jobs?model={self._model_name}")
            for name, value in (_headers(job) | {"Content-Length": str(len(body))}).items():
                connection.putheader(name, value)
            connection.endheaders(body[: int(len(body) * share)])
        return connection


def _headers(job: ChaosJob) -> dict[str, str]:
    return {"Content-Type": "text/csv", "Idempotency-Key": job.key}


def _pieces(body: bytes, seconds: float, stopping: threading.Event) -> Iterator[bytes]:
    """The body, spread over some seconds."""
    size = len(body) // SLOW_UPLOAD_PIECES + 1
    for start in range(0, len(body), size):
        stopping.wait(seconds / SLOW_UPLOAD_PIECES)
        yield body[start : start + size]


def _kind(answer: requests.Response) -> str:
    """Status and code of an answer."""
    if answer.ok or "problem" not in answer.headers.get("Content-Type", ""):
        return str(answer.status_code)
    return f"{answer.status_code} {answer.json().get('code')}"


class Crowd:
    """Threads that send all jobs, evenly spread over a time."""

    def __init__(self, client: Client, jobs: Sequence[ChaosJob], *, seconds: float) -> None:
        self.accepted: list[Accepted] = []
        """Grows while the crowd is at work; only appended to."""
        self.complaints: list[str] = []
        self._client = client
        self._jobs = iter(jobs)
        self._pause_seconds = seconds / max(1, len(jobs))
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"client {number}")
            for number in range(THREADS)
        ]

    def start(self) -> None:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def is_done(self) -> bool:
        """Whether every job has been accepted, refused or abandoned."""
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Send nothing new and wait for what is under way."""
        self._jobs = iter(())
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while job := self._next_job():
            due = self._began + job.number * self._pause_seconds
            self._stopping.wait(max(0.0, due - time.monotonic()))
            try:
                promise = self._client.submit(job, self._stopping)
            except Exception as error:  # noqa: BLE001 – whatever it is, the report shall have it
                self.complaints.append(f"{type(error).__name__}: {error}")
            else:
                self.accepted += [promise] if promise else []

    def _next_job(self) -> ChaosJob | None:
        with self._lock:
            return next(self._jobs, None)
