"""One trace joins a request, the chunks of its job and its callback, in whatever process."""

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.collectors import Collector, SpanSeen, collector
from tests.live_stack import ROOT, Api, api_process, environment, live_stack
from tests.receivers import SECRET, answering, receiver

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
REQUEST, INTAKE, RUN, CALLBACK = "POST /jobs", "take in a job", "run chunk", "tell callback"


@pytest.fixture(scope="module")
def collected() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture(scope="module")
def stack(collected: Collector, run_directory: Path, few_models: Path) -> Iterator[Api]:
    settings = {
        "max_chunk_bytes": "2000",
        "webhook_secret": SECRET,
        "webhook_allow_private": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collected.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with live_stack(run_directory / "trace", few_models, **settings) as api:
            yield api


def only(spans: list[SpanSeen], name: str) -> SpanSeen:
    [span] = [span for span in spans if span.name == name]
    return span


def test_a_trace_goes_on_from_the_caller_to_the_callback(stack: Api, collected: Collector) -> None:
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-ID": "trace-1"}
    table = "x\n" + "1.5\n" * 3000

    with receiver(answering(204)) as hook:
        answer = stack.submit(table, model="echo", callback_url=hook.url, headers=headers)
        job = answer.json()
        runs_expected = [RUN] * job["progress"]["chunks_total"]
        spans = collected.trace(REQUEST, INTAKE, CALLBACK, *runs_expected, request_id="trace-1")

    assert {span.trace_id for span in spans} == {TRACE}
    assert {span.attributes.get("rowmill.job_id", job["id"]) for span in spans} == {job["id"]}
    served, taken, told = (only(spans, name) for name in (REQUEST, INTAKE, CALLBACK))
    runs = [span for span in spans if span.name == RUN]
    assert (served.parent_id, taken.parent_id) == (CALLER, served.span_id)
    assert {span.parent_id for span in (*runs, told)} == {taken.span_id}
    assert Counter(span.attributes["rowmill.chunk"] for span in runs) == Counter(
        range(job["progress"]["chunks_total"])
    )
    assert {span.attributes["rowmill.outcome"] for span in runs} == {"committed"}
    kinds = [served.kind, taken.kind, runs[0].kind, told.kind]
    assert kinds == [Span.SPAN_KIND_SERVER, Span.SPAN_KIND_INTERNAL,
                     Span.SPAN_KIND_CONSUMER, Span.SPAN_KIND_CLIENT]  # fmt: skip
    services = {span.name: span.service for span in spans}
    assert services == {REQUEST: "rowmill-api", INTAKE: "rowmill-api",
                        RUN: "rowmill-worker", CALLBACK: "rowmill-worker"}  # fmt: skip


def test_a_request_without_a_trace_begins_one(stack: Api, collected: Collector) -> None:
    answer = stack.predict("x\n6\n", model="line")

    request_id = answer.headers["X-Request-ID"]
    spans = collected.trace("POST /predict", INTAKE, RUN, request_id=request_id)
    served = only(spans, "POST /predict")
    assert served.parent_id == ""
    assert served.attributes["http.request.method"] == "POST"
    assert served.attributes["http.route"] == "/predict"
    assert served.attributes["http.response.status_code"] == 200


def test_a_request_that_was_put_aside_is_one_span(stack: Api, collected: Collector) -> None:
    answer = stack.submit("x\n" + "1\n" * 600, model="slow", headers={"X-Request-ID": "trace-2"})

    spans = collected.trace(REQUEST, INTAKE, RUN, request_id="trace-2")
    assert answer.json()["status"] == "succeeded"
    assert only(spans, REQUEST).attributes["http.response.status_code"] == 202


@pytest.mark.parametrize("traceparent", ["", "00-" + "0" * 32 + "-" + CALLER + "-01", "x" * 5000])
def test_a_traceparent_that_is_not_sound_is_passed_over(
    stack: Api, collected: Collector, traceparent: str
) -> None:
    answer = requests.get(f"{stack.url}/models", headers={"traceparent": traceparent}, timeout=30)

    assert answer.ok
    [span] = collected.trace("GET /models", request_id=answer.headers["X-Request-ID"])
    assert span.parent_id == ""


def test_probes_are_not_traced(stack: Api, collected: Collector) -> None:
    # One connection, so one process: its spans come in order.
    with requests.Session() as session:
        session.get(f"{stack.url}/healthz", timeout=30)
        answer = session.get(f"{stack.url}/models", timeout=30)

    collected.trace("GET /models", request_id=answer.headers["X-Request-ID"])
    assert "GET /healthz" not in {span.name for span in collected.spans}


def test_a_collector_that_never_answers_holds_up_nothing(
    run_directory: Path, few_models: Path, redis_url: str
) -> None:
    """Neither requests nor the end of the process: Gunicorn would kill it in 20 seconds."""
    # Takes connections and never reads from one.
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.MonkeyPatch.context() as patch:
        port = silent.getsockname()[1]
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        log = run_directory / "silent.log"
        with api_process(environment(redis_url, few_models), log) as api:
            for _ in range(20):
                assert api.get("/models").ok

    assert "was sent SIGKILL" not in log.read_text()


@pytest.mark.parametrize("module", ["api.wsgi", "worker.tasks"])
def test_nothing_is_imported_where_nothing_is_traced(module: str) -> None:
    """But for what redis-py imports of its own accord, where it finds it: metrics."""
    traces = "opentelemetry.sdk.trace", "opentelemetry.exporter", "opentelemetry.proto"
    program = f"import {module}, sys; print([m for m in sys.modules if m.startswith({traces})])"
    ran = subprocess.run(
        (sys.executable, "-c", program), cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert ran.stdout == "[]\n"
