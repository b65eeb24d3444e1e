"""`/healthz`: this process is up. `/readyz`: a job would be scored."""

from http import HTTPStatus

from flask import Blueprint, Response, jsonify

from api import problems
from shared.job_store.workers import WorkerRegistry


def make_blueprint(workers: WorkerRegistry) -> Blueprint:
    """Routes over this registry."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return jsonify({"status": "ok"})

    @routes.get("/readyz")
    def readyz() -> Response:
        processes = workers.live_processes()
        if not processes:
            return problems.problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "no_live_worker",
                "No worker has been heard of; start one. Jobs are taken and wait until then.",
            )
        return jsonify({"status": "ready", "worker_processes": processes})

    return routes
