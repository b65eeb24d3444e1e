"""`/status`: what there is to do and who does it, for people who watch."""

from flask import Blueprint, Response, jsonify, request

from api.query import NoQuery, parse_query
from api.status_document import status_document
from shared.job_store.overview import Overviews


def make_blueprint(overviews: Overviews, *, max_waiting_rows: int) -> Blueprint:
    """Routes over this store, which takes no more rows than that at a time."""
    routes = Blueprint("status", __name__)

    @routes.get("/status")
    def status() -> Response:
        parse_query(NoQuery, request.args)
        return jsonify(status_document(overviews.now(), max_waiting_rows=max_waiting_rows))

    return routes
