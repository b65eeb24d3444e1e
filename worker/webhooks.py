"""Tells callbacks of the ends of jobs: `python -m worker.webhooks <id of the worker's process>`.

A process of its own beside the worker's: a receiver that is slow holds a thread here and nothing
that scores, and the worker's main process, from which others are forked, stays without threads. It
ends with the process that began it, after the attempts that are under way.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPException

from shared import logs, metrics, tracing
from shared.errors import InputError, JobError, StoreError
from shared.job_store.connection import connect
from shared.job_store.deliveries import Attempt, Deliveries, Delivery, DeliveryState
from shared.job_store.store import JobStore
from shared.jobs import Job
from shared.settings import Settings
from shared.tracing import Kind
from worker.metrics import WorkerMetrics
from worker.receiver import Answer, Caller
from worker.webhook_message import Signer, message
from worker.webhook_pauses import pause_after

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""How often is looked while nothing is due."""

MOST_AT_ONCE = 16
MOST_PER_HOST = 2
"""Attempts under way beside one worker. A receiver that never answers takes two threads for the
time limit; with eight of them, others wait for about as long for their turn."""

CLAIM_TIMES = 3
"""A claim lasts as many time limits: looking up a name is not within the limit."""

MOST_PROBLEM_CHARS = 200
"""Of what the system says about an attempt that failed."""


@dataclass(frozen=True, kw_only=True)
class Deliverer:
    """Makes the attempts. One thread runs it."""

    deliveries: Deliveries
    store: JobStore
    caller: Caller
    signer: Signer
    pauses_seconds: Sequence[float]
    """Between two attempts: there is one attempt more."""
    timeout_seconds: float
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)
    _under_way: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_freed: threading.Event = field(default_factory=threading.Event)

    def run(self, is_over: Callable[[], bool]) -> None:
        """Tell what is due until it is over; returns when no attempt is under way any more."""
        with ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="delivery") as threads:
            while not is_over():
                self._is_freed.clear()
                try:
                    has_begun = self._begin_next(threads)
                except StoreError as error:
                    logger.warning("store out of reach", extra={"reason": str(error)})
                    has_begun = False
                if not has_begun:
                    self._is_freed.wait(LOOK_SECONDS)

    def _begin_next(self, threads: Executor) -> bool:
        """Begin an attempt that is due; False if there is none, or no thread for it."""
        with self._lock:
            if self._under_way.total() >= MOST_AT_ONCE:
                return False
            busy = [host for host, count in self._under_way.items() if count >= MOST_PER_HOST]
        seconds = CLAIM_TIMES * self.timeout_seconds
        delivery = self.deliveries.claim(seconds=seconds, busy=busy)
        if delivery is None:
            return False
        with self._lock:
            self._under_way[delivery.host] += 1
        threads.submit(self._work, delivery)
        return True

    def _work(self, delivery: Delivery) -> None:
        """The edge of a thread: what goes wrong here is tried again when the claim is over."""
        logs.set_fields({"request_id": delivery.trail.request_id, "job_id": delivery.job_id})
        try:
            self._tell(delivery)
        except JobError:
            pass  # deleted or expired since: there is nothing to tell, and nobody to note it for
        except StoreError as error:
            logger.warning("delivery not noted", extra={"reason": str(error)})
        except Exception:
            logger.exception("delivery crashed")
        finally:
            with self._lock:
                self._under_way[delivery.host] -= 1
                if not self._under_way[delivery.host]:
                    del self._under_way[delivery.host]
            self._is_freed.set()

    def _tell(self, delivery: Delivery) -> None:
        if delivery.number > len(self.pauses_seconds) + 1:
            # As many were begun, and of the last nothing was heard.
            self.deliveries.end(delivery, DeliveryState.FAILED)
            return
        job = self.store.get(delivery.job_id)
        with self._span(delivery):
            attempt, answer = self._attempt(job)
            if attempt.status:
                tracing.note({"http.response.status_code": attempt.status})
        state = self._state(delivery, attempt)
        self.metrics.webhook_attempts.labels(state).inc()
        fields = {"host": delivery.host, "attempt": delivery.number}
        fields |= {"state": state, "status": attempt.status, "reason": attempt.error}
        if state is DeliveryState.DELIVERED:
            logger.info("callback told", extra=fields)
        else:
            logger.warning("callback not told", extra=fields)
        if state is DeliveryState.PENDING:
            pause = self.pauses_seconds[delivery.number - 1]
            seconds = pause_after(answer, pause, now=datetime.now(UTC))
            self.deliveries.try_again(delivery, attempt, seconds=seconds)
        else:
            self.deliveries.end(delivery, state, attempt)

    @staticmethod
    def _span(delivery: Delivery) -> AbstractContextManager[None]:
        return tracing.span(
            "tell callback",
            Kind.CLIENT,
            traceparent=delivery.trail.traceparent,
            attributes={
                "http.request.method": "POST",
                "server.address": delivery.host,
                "rowmill.request_id": delivery.trail.request_id,
                "rowmill.job_id": delivery.job_id,
                "rowmill.attempt": delivery.number,
            },
        )

    def _state(self, delivery: Delivery, attempt: Attempt) -> DeliveryState:
        if attempt.error is None:
            return DeliveryState.DELIVERED
        if attempt.status == HTTPStatus.GONE:
            return DeliveryState.GONE
        is_last = delivery.number > len(self.pauses_seconds)
        return DeliveryState.FAILED if is_last else DeliveryState.PENDING

    def _attempt(self, job: Job) -> tuple[Attempt, Answer | None]:
        began, now, body = time.monotonic(), datetime.now(UTC), message(job)
        headers = self.signer.headers(job.id, body, now=now)
        answer, problem = None, None
        try:
            answer = self.caller.post(
                job.callback_url or "", body, headers, seconds=self.timeout_seconds
            )
        except TimeoutError:
            problem = f"no answer within {self.timeout_seconds:g} s"
        except (OSError, InputError) as error:
            problem = str(error)[:MOST_PROBLEM_CHARS]
        except HTTPException as error:
            # Its text is what the receiver has sent, whatever that is.
            problem = f"the answer is not HTTP ({type(error).__name__})"
        attempt = Attempt(
            at_ms=int(now.timestamp() * 1000),
            duration_seconds=time.monotonic() - began,
            status=answer.status if answer else None,
            error=_complaint(answer.status) if answer else problem,
        )
        return attempt, answer


def _complaint(status: int) -> str | None:
    """Why an answer does not count."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"status {status}; redirects are not followed"
    if status == HTTPStatus.GONE:
        return f"status {status}; the receiver wants no more"
    return f"status {status}"


def make_deliverer(settings: Settings) -> Deliverer:
    """All parts of this process."""
    redis = connect(settings.redis_url)
    return Deliverer(
        deliveries=Deliveries(redis),
        store=JobStore(redis),
        caller=Caller(allow_private=settings.webhook_allow_private),
        signer=Signer(settings.webhook_secrets),
        pauses_seconds=settings.webhook_pauses,
        timeout_seconds=settings.webhook_timeout_seconds,
    )


def main(worker_process: int) -> None:
    """Tell callbacks as long as this is the child of a worker's main process."""
    settings = Settings()
    logs.configure(settings.log_level)
    metrics.join()
    is_stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: is_stopped.set())
    make_deliverer(settings).run(lambda: is_stopped.is_set() or os.getppid() != worker_process)
    tracing.end()


if __name__ == "__main__":
    main(int(sys.argv[1]))
