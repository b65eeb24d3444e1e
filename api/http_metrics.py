"""How many requests the API answers, how fast, and how many it is at: counted by each process."""

import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Request, Response, request
from prometheus_client import Counter, Gauge, Histogram
from werkzeug.wsgi import ClosingIterator

from api.deferral import RESUME

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Bounds of the buckets: a small request takes about two milliseconds."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
UNKNOWN = "unknown"
"""Callers may write any method and any path; what becomes a label is bounded."""

BEGAN = "rowmill.began"
"""Where an environment has it: when the request began, later by what it has waited."""

Wsgi = Callable[..., Iterable[bytes]]


class HttpMetrics:
    """What one process counts of its requests. Safe to share by threads."""

    def __init__(self) -> None:
        self.requests = Counter(
            "rowmill_http_requests",
            "Requests answered, by route, method and status.",
            ["route", "method", "status"],
            registry=None,
        )
        self.seconds = Histogram(
            "rowmill_http_request_seconds",
            "Time from a request's head to that of its answer, less waiting for jobs to end.",
            ["route"],
            buckets=SECONDS,
            registry=None,
        )
        self.in_progress = Gauge(
            "rowmill_http_requests_in_progress",
            "Requests that a thread works on, or sends the answer to.",
            registry=None,
            multiprocess_mode="livesum",
        )
        self._found: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def install(self, app: Flask) -> None:
        """Count all requests of `app`."""
        app.after_request(self._count)
        app.wsgi_app = self._measured(app.wsgi_app)  # type: ignore[method-assign]

    def _measured(self, application: Wsgi) -> Wsgi:
        # Any: what a WSGI environment holds, and what its server is given to call.
        def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            self.in_progress.inc()
            environ[BEGAN] = time.perf_counter()
            try:
                body = application(environ, start_response)
            except BaseException:  # also one that is put aside: no thread works on it
                self.in_progress.dec()
                raise
            return ClosingIterator(body, self.in_progress.dec)

        return answer

    def _count(self, response: Response) -> Response:
        """Count an answer whose head is about to be sent: what follows, as a stream does, may
        take as long as its reader likes."""
        # The proxy looks for the request anew at each attribute.
        sent = request._get_current_object()  # type: ignore[attr-defined]
        count, seconds = self._series(sent, response.status_code)
        count.inc()
        # One that was put aside has waited by far the most of its time.
        if RESUME not in sent.environ:
            seconds.observe(time.perf_counter() - sent.environ[BEGAN])
        return response

    def _series(self, sent: Request, status: int) -> tuple[Counter, Histogram]:
        """What the answer counts in; looking it up by labels would take twice as long."""
        method = sent.method if sent.method in METHODS else OTHER
        key = (sent.url_rule.rule if sent.url_rule else UNKNOWN, method, status)
        found = self._found.get(key)
        if found is None:
            route = template(key[0])
            count = self.requests.labels(route, method, status)
            found = self._found[key] = count, self.seconds.labels(route)
        return found


def leave_out(environ: dict[str, Any], seconds: float) -> None:
    """Note that a request has waited for a job for so long: that is not the API's own time."""
    if BEGAN in environ:
        environ[BEGAN] += seconds


def route_of(sent: Request) -> str:
    """The route's template as the reference writes it, never the path."""
    return template(sent.url_rule.rule) if sent.url_rule else UNKNOWN


def template(rule: str) -> str:
    """`/jobs/{job_id}` for `/jobs/<job_id>`."""
    return re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule)
