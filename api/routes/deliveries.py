"""`/jobs/{id}/deliveries`: whether the job's callback was told of its end."""

from flask import Blueprint, Response, jsonify, request

from api import representations
from api.query import NoQuery, parse_query
from shared.job_store.deliveries import Deliveries
from shared.job_store.store import JobStore


def make_blueprint(store: JobStore, deliveries: Deliveries) -> Blueprint:
    """Routes over these parts."""
    routes = Blueprint("deliveries", __name__)

    @routes.get("/jobs/<job_id>/deliveries")
    def show(job_id: str) -> Response:
        job = store.get(job_id)
        parse_query(NoQuery, request.args)
        return jsonify(representations.deliveries_document(job, deliveries.log(job)))

    return routes
