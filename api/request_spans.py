"""Requests as spans of a trace, by the names that OpenTelemetry has for HTTP."""

from http import HTTPStatus

from flask import Flask, Response, request

from api import exchange
from api.http_metrics import route_of
from shared import tracing
from shared.tracing import Kind

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked all the time by machines, and no part of anything."""


def install(app: Flask) -> None:
    """Trace the requests of `app`. One that is put aside is one span up to its answer's end."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    served = exchange.current()
    if served is None or request.path in PROBES:
        return
    if served.span is None:
        served.span = tracing.start(
            f"{request.method} {route_of(request)}",
            Kind.SERVER,
            parent={name.lower(): value for name, value in request.headers},
            attributes={
                "http.request.method": request.method,
                "http.route": route_of(request),
                "url.path": request.path,
                "url.scheme": request.scheme,
                "rowmill.request_id": served.id,
            },
        )
    if served.span:
        tracing.attach(served.span)


def _end(response: Response) -> Response:
    served = exchange.current()
    if served is None or (span := served.span) is None:
        return response
    span.set_attribute("http.response.status_code", response.status_code)
    for name, value in served.fields.items():
        span.set_attribute(f"rowmill.{name}", str(value))
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.set_attribute("error.type", str(response.status_code))
    # A stream is part of its answer.
    response.call_on_close(span.end)
    return response
