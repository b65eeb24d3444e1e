"""What is counted of requests: by template, with bounded labels, and without what they wait for."""

from collections.abc import Iterator

import pytest
from flask import Flask, Response, request
from prometheus_client import CollectorRegistry

from api import http_metrics
from api.deferral import RESUME, Deferred
from api.http_metrics import HttpMetrics, leave_out


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def app(registry: CollectorRegistry) -> Flask:
    app = Flask("counted")
    metrics = HttpMetrics()
    metrics.install(app)
    for metric in (metrics.requests, metrics.seconds, metrics.in_progress):
        registry.register(metric)

    @app.route("/jobs/<job_id>", methods=["GET", "POST"])
    def job(job_id: str) -> str:
        return job_id

    @app.get("/waits")
    def waits() -> str:
        leave_out(request.environ, 100.0)
        leave_out(request.environ, 100.0)
        return "done"

    @app.get("/deferred")
    def deferred() -> str:
        raise Deferred(None)  # type: ignore[arg-type]

    @app.get("/broken")
    def broken() -> str:
        raise ValueError

    @app.get("/stream")
    def stream() -> Response:
        def parts() -> Iterator[bytes]:
            yield b"%d" % (registry.get_sample_value("rowmill_http_requests_in_progress") or 0)

        return Response(parts())

    return app


def send(app: Flask, path: str, *, method: str = "GET", **environ: object) -> None:
    """A request whose answer is read to its end."""
    app.test_client().open(path, method=method, environ_overrides=environ).close()


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"rowmill_http_{name}", labels)


def test_paths_and_methods_of_callers_never_become_labels(
    app: Flask, registry: CollectorRegistry
) -> None:
    for path in ("/jobs/1", "/jobs/2", "/../etc", "/nothing"):
        send(app, path)
    send(app, "/jobs/1", method="BREW")

    of_a_job = {"route": "/jobs/{job_id}", "status": "200", "method": "GET"}
    assert value(registry, "requests_total", **of_a_job) == 2
    assert value(registry, "requests_total", route="unknown", method="GET", status="404") == 2
    assert value(registry, "requests_total", route="unknown", method="other", status="405") == 1


def test_a_request_that_breaks_is_counted(app: Flask, registry: CollectorRegistry) -> None:
    send(app, "/broken")

    assert value(registry, "requests_total", route="/broken", method="GET", status="500") == 1
    assert value(registry, "requests_in_progress") == 0


def test_waiting_is_left_out_of_the_time(app: Flask, registry: CollectorRegistry) -> None:
    send(app, "/waits")

    assert value(registry, "request_seconds_count", route="/waits") == 1
    assert (value(registry, "request_seconds_sum", route="/waits") or 0) < 0


def test_what_was_put_aside_is_counted_when_it_is_answered_and_not_timed(
    app: Flask, registry: CollectorRegistry
) -> None:
    with pytest.raises(Deferred):
        send(app, "/deferred")
    before = value(registry, "requests_total", route="/waits", method="GET", status="200")
    send(app, "/waits", **{RESUME: True})

    assert before is None
    assert value(registry, "requests_total", route="/waits", method="GET", status="200") == 1
    assert value(registry, "request_seconds_count", route="/waits") == 0
    assert value(registry, "requests_in_progress") == 0


def test_a_request_is_in_progress_until_its_answer_is_sent(
    app: Flask, registry: CollectorRegistry
) -> None:
    answer = app.test_client().get("/stream")

    assert answer.data == b"1"
    answer.close()
    assert value(registry, "requests_in_progress") == 0


@pytest.mark.parametrize(
    ("rule", "template"),
    [("/", "/"), ("/jobs/<job_id>/results", "/jobs/{job_id}/results"), ("/<path:p>", "/{p}")],
)
def test_routes_are_written_as_in_the_reference(rule: str, template: str) -> None:
    assert http_metrics.template(rule) == template
