"""`/metrics`: what all processes of this API count, and what Redis knows, for Prometheus."""

from flask import Blueprint, Response
from prometheus_client.registry import Collector

from shared import metrics


def make_blueprint(*collectors: Collector) -> Blueprint:
    """The route over these."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def show() -> Response:
        text = metrics.exposition(*collectors)
        return Response(text, content_type=metrics.CONTENT_TYPE)

    return routes
