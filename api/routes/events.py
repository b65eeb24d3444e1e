"""`/jobs/{id}/events`: what happens to a job, told as it happens."""

from typing import Any

from flask import Blueprint, Response, request

from api import event_stream, representations
from api.deferral import IS_STOPPING
from api.drift_report import drift_warnings
from api.follower import while_there
from api.query import NoQuery, parse_query
from api.waiting import WaitingRoom
from shared.job_store.progress import Progress
from shared.job_store.store import JobStore
from shared.jobs import Job
from shared.model_repository import ModelRepository

HEADERS = {"X-Accel-Buffering": "no"}
"""Has nginx pass on every event at once, however it is set up."""


def make_blueprint(
    store: JobStore, progress: Progress, waiting_room: WaitingRoom, repository: ModelRepository
) -> Blueprint:
    """Routes over these parts; who watches a job has a seat in this room."""
    routes = Blueprint("events", __name__)

    @routes.get("/jobs/<job_id>/events")
    def events(job_id: str) -> Response:
        job = store.get(job_id)
        parse_query(NoQuery, request.args)
        last_id = request.headers.get("Last-Event-ID")
        if not job.has_ended:
            return watched(job, last_id)
        if last_id == event_stream.event_id(job):
            # Of all answers this one keeps an EventSource from coming back.
            return Response(status=204, headers=HEADERS)
        text = event_stream.BEGINNING + event_stream.event(job, describe)
        return Response(text, headers=HEADERS, mimetype=event_stream.MEDIA_TYPE)

    def watched(job: Job, last_id: str | None) -> Response:
        environ = request.environ
        texts = event_stream.stream(
            progress.watch(job.id),
            describe,
            last_id=last_id,
            is_over=environ.get(IS_STOPPING, bool),
        )
        body = while_there(environ.get("gunicorn.socket"), texts)
        response = Response(body, headers=HEADERS, mimetype=event_stream.MEDIA_TYPE)
        # Last: nothing may come between taking the seat and naming who gives it back.
        response.call_on_close(waiting_room.follow())
        return response

    def describe(job: Job) -> dict[str, Any]:
        return representations.job_document(job, drift_warnings(job, repository))

    return routes
