"""Traces for those who collect them: spans of OpenTelemetry, in which a job is followed from the
request to its callback.

Where the variable `OTEL_EXPORTER_OTLP_ENDPOINT` does not say where spans go, nothing is imported
and nothing is made. Spans are sent by a thread of their own; who makes them never waits, and loses
some when it is slow. The thread begins with the first span, so behind every fork.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from shared.errors import RowmillError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
SERVICE_NAME = "OTEL_SERVICE_NAME"

EXIT_SECONDS = 2.0
"""How long a process that ends may take to send what it has: a collector that is away must not keep
it from ending."""

PARENT = "traceparent"
"""The header in which W3C Trace Context says where somebody is in a trace."""

Attributes = Mapping[str, str | int]
NOTHING: Attributes = MappingProxyType({})


class Kind(Enum):
    """Of spans, by the names that OpenTelemetry has for them."""

    SERVER = "SERVER"
    CLIENT = "CLIENT"
    CONSUMER = "CONSUMER"
    INTERNAL = "INTERNAL"


@cache
def is_on() -> bool:
    """Whether spans go anywhere."""
    return bool(os.environ.get(ENDPOINT))


def begin(service: str) -> None:
    """Name this process and its children in their spans, where nobody has given them a name."""
    os.environ.setdefault(SERVICE_NAME, service)


def start(
    name: str, kind: Kind, *, parent: Mapping[str, str], attributes: Attributes
) -> "Span | None":
    """A span that somebody has to end; None where nothing is traced.

    `parent`: the headers of W3C Trace Context; the span begins a trace of its own if there are
    none, or they are not sound.
    """
    return _started(name, kind, _context(parent), attributes) if is_on() else None


def attach(span: "Span") -> None:
    """Let this thread work on a span: what it begins is part of it."""
    from opentelemetry import context, trace

    context.attach(trace.set_span_in_context(span))


@contextmanager
def span(
    name: str,
    kind: Kind = Kind.INTERNAL,
    *,
    traceparent: str | None = None,
    attributes: Attributes = NOTHING,
) -> Iterator[None]:
    """Within it, this thread works on a part of its span, or of the one that `traceparent` names.

    Errors that have a code are noted.
    """
    if not is_on():
        yield
        return
    from opentelemetry import context, trace

    parent = context.get_current() if traceparent is None else _context({PARENT: traceparent})
    made = _started(name, kind, parent, attributes)
    token = context.attach(trace.set_span_in_context(made))
    try:
        yield
    except RowmillError as error:
        made.set_attribute("error.type", error.code)
        raise
    finally:
        context.detach(token)
        made.end()


def note(attributes: Attributes) -> None:
    """Add to the span that this thread works on."""
    if is_on():
        from opentelemetry import trace

        trace.get_current_span().set_attributes(attributes)


def traceparent() -> str:
    """Where this thread is in a trace, in one line; empty if nowhere."""
    if not is_on():
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return headers.get(PARENT, "")


def end() -> None:
    """Send what there is, for `EXIT_SECONDS` at most. Call it when the process ends."""
    if _provider.cache_info().currsize:
        # The library waits for up to half a minute, and knows no bound.
        sending = threading.Thread(target=_provider().shutdown, name="last spans", daemon=True)
        with suppress(RuntimeError):  # too late: the interpreter begins no thread any more
            sending.start()
            sending.join(EXIT_SECONDS)


def _context(headers: Mapping[str, str]) -> "Context":
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(headers, context=Context())


def _started(name: str, kind: Kind, context: "Context", attributes: Attributes) -> "Span":
    from opentelemetry.trace import SpanKind

    with _lock:
        tracer = _provider().get_tracer("rowmill")
    return tracer.start_span(
        name, context=context, kind=SpanKind[kind.value], attributes=dict(attributes)
    )


_lock = threading.Lock()


@cache
def _provider() -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
