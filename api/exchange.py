"""The exchange: a request and its answer, under an id by which both sides find it again.

The id stands in every log line that is written meanwhile, in the header of the answer, and goes
with a job to the workers. A caller that has an id of its own sends it along.
"""

import re
import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask import Flask, Response, request

from api.deferral import CARRIED
from shared import logs, tracing
from shared.jobs import JOB_ID_PATTERN
from shared.trail import Trail

if TYPE_CHECKING:
    from opentelemetry.trace import Span

HEADER = "X-Request-ID"

EXCHANGE = "exchange"
"""Its name among what a request carries along while it waits."""

_SOUND_ID = re.compile(r"[A-Za-z0-9._:=+/@-]{1,128}")
"""What proxies and tracers make. Nothing that ends a line, a field or a header, and not long: it is
kept with a job."""

_JOB_ID = re.compile(JOB_ID_PATTERN)


@dataclass(kw_only=True)
class Exchange:
    """What is known of it so far. One thread at a time has it."""

    id: str
    fields: dict[str, object] = field(default_factory=dict)
    """What its log lines say of it."""
    began: float = field(default_factory=time.monotonic)
    span: "Span | None" = None
    """In a trace, if there is one."""

    def __post_init__(self) -> None:
        self.fields["request_id"] = self.id


_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


def begin(exchange: Exchange) -> None:
    """Let this thread serve an exchange, until it begins another: the server asks for the rest of
    an answer when the application has long returned."""
    _current.set(exchange)
    logs.set_fields(exchange.fields)


def current() -> Exchange | None:
    """The exchange that this thread serves."""
    return _current.get()


def trail() -> Trail:
    """What a job keeps of the request that makes it."""
    exchange = _current.get()
    request_id = exchange.id if exchange else ""
    return Trail(request_id=request_id, traceparent=tracing.traceparent())


def concerns(job_id: str) -> None:
    """Let the lines that follow name this job."""
    if exchange := _current.get():
        exchange.fields["job_id"] = job_id


def called_by(key_id: str) -> None:
    """Let the lines that follow name the API key that the request was sent with."""
    if key_id and (exchange := _current.get()):
        exchange.fields["key_id"] = key_id


def request_id(given: str | None = None) -> str:
    """The id of a request: what it brings, if that is sound, or a new one."""
    return given if given and _SOUND_ID.fullmatch(given) else secrets.token_hex(10)


def install(app: Flask) -> None:
    """Give every request of `app` its exchange, before all else."""

    @app.before_request
    def begin_exchange() -> None:
        # The proxy looks for the request anew at each attribute.
        sent = request._get_current_object()  # type: ignore[attr-defined]
        carried = sent.environ.setdefault(CARRIED, {})
        exchange = carried.get(EXCHANGE)
        if exchange is None:
            exchange = carried[EXCHANGE] = Exchange(
                id=request_id(sent.environ.get("HTTP_X_REQUEST_ID"))
            )
            job_id = (sent.view_args or {}).get("job_id", "")
            if _JOB_ID.fullmatch(job_id):
                exchange.fields["job_id"] = job_id
        begin(exchange)

    @app.after_request
    def end_exchange(response: Response) -> Response:
        if exchange := _current.get():
            response.headers[HEADER] = exchange.id
        return response
