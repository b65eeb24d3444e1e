"""`/healthz`: this process is up. `/readyz`: a job would be taken and scored."""

from http import HTTPStatus

from flask import Blueprint, Response, jsonify

from api import problems
from api.readiness import Readiness
from shared.errors import NotReadyError, StoreError


def make_blueprint(readiness: Readiness) -> Blueprint:
    """Routes over what is found of the service."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return jsonify({"status": "ok"})

    @routes.get("/readyz")
    def readyz() -> Response:
        try:
            processes = readiness.processes()
        except (NotReadyError, StoreError) as error:
            # Not by the common handler: it is an answer, not a failure to be logged each second,
            # and a full store is 429 only to who brings work.
            status = HTTPStatus.SERVICE_UNAVAILABLE
            answer = problems.problem(status, error.code, str(error))
            answer.headers["Retry-After"] = str(problems.RETRY_SECONDS)
            return answer
        return jsonify({"status": "ready", "worker_processes": processes})

    return routes
