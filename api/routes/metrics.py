"""`/metrics`: what all processes of this API count, and what Redis knows, for Prometheus."""

from collections.abc import Callable

from flask import Blueprint, Request, Response, request
from prometheus_client.registry import Collector

from shared import metrics
from shared.errors import MetricsTokenError


def make_blueprint(*collectors: Collector, may_read: Callable[[Request], bool]) -> Blueprint:
    """The route over these; `may_read` says whether a request may."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def show() -> Response:
        if not may_read(request):
            raise MetricsTokenError
        text = metrics.exposition(*collectors)
        return Response(text, content_type=metrics.CONTENT_TYPE)

    return routes
