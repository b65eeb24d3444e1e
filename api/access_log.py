"""The access log: a line for every request whose answer has been sent."""

import logging
import time
from collections.abc import Iterable, Iterator

from flask import Flask, Response, request

from api import exchange
from api.exchange import Exchange
from api.http_metrics import route_of

logger = logging.getLogger(__name__)


def install(app: Flask) -> None:
    """Log every request of `app`."""

    @app.after_request
    def log(response: Response) -> Response:
        if served := exchange.current():
            _log_when_sent(response, served)
        return response


def _log_when_sent(response: Response, served: Exchange) -> None:
    seen = {"method": request.method, "route": route_of(request)}
    # What has its length at hand keeps it.
    if not response.is_sequence:
        response.response = _Counted(response.response)  # type: ignore[arg-type]  # it is bytes

    def log() -> None:
        logger.info(
            "request answered",
            extra={
                **served.fields,
                **seen,
                "status": response.status_code,
                "bytes": _sent_bytes(response, request_method=seen["method"]),
                "seconds": round(time.monotonic() - served.began, 4),
            },
        )

    response.call_on_close(log)


def _sent_bytes(response: Response, *, request_method: object) -> int:
    """How much of an answer was sent, as far as the application knows; its head is not counted."""
    if isinstance(response.response, _Counted):
        return response.response.sent_bytes
    has_no_body = request_method == "HEAD" or response.status_code in (204, 304)
    return 0 if has_no_body else len(response.get_data())


class _Counted:
    """The body of an answer, and how much of it was sent."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.sent_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.sent_bytes += len(piece)
            yield piece

    def close(self) -> None:
        """Close what it counts: a generator may hold something until then."""
        if hasattr(self._pieces, "close"):
            self._pieces.close()
