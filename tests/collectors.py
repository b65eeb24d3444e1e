"""A collector of traces, on loopback: takes spans as OTLP over HTTP."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.waiting import wait_until


@dataclass(frozen=True, kw_only=True)
class SpanSeen:
    """A span as it was sent; ids in hexadecimal."""

    name: str
    service: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]


@dataclass
class Collector:
    url: str
    spans: list[SpanSeen] = field(default_factory=list)

    def trace(self, *names: str, **attributes: str) -> list[SpanSeen]:
        """All spans of the trace that has one with these attributes, once it has all of these
        names, each as often as it is given; `_` in the name of an attribute stands for a dot."""
        wanted = {f"rowmill.{name}": value for name, value in attributes.items()}

        def complete() -> list[SpanSeen]:
            spans = list(self.spans)
            ids = {span.trace_id for span in spans if wanted.items() <= span.attributes.items()}
            found = [span for span in spans if span.trace_id in ids]
            return found if Counter(names) <= Counter(span.name for span in found) else []

        return wait_until(complete, timeout=30)


@contextmanager
def collector() -> Iterator[Collector]:
    """One that is running."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.spans.extend(seen(ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Collector(url=f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


def seen(request: Any) -> Iterator[SpanSeen]:
    for of_process in request.resource_spans:
        resource = values(of_process.resource.attributes)
        for scope in of_process.scope_spans:
            for span in scope.spans:
                yield SpanSeen(
                    name=span.name,
                    service=resource["service.name"],
                    kind=span.kind,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    attributes=values(span.attributes),
                )


def values(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}
