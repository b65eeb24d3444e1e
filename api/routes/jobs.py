"""`/jobs`: submit, list, look at, cancel, retry, delete."""

from flask import Blueprint, Response, jsonify, request

from api import representations
from api.bodies import csv_blocks, json_text
from api.query import JobListQuery, RetryOrder, parse_order, parse_query
from api.specification import SubmitOptions
from api.submission import Sender, Submission, Submitted
from api.waiting import WaitingRoom
from shared.job_store.store import JobFilter, JobStore
from shared.jobs import Job

MAX_RETRY_SECONDS = 30
"""A caller who polls is never told to stay away for longer, however long the job takes."""


def make_blueprint(submission: Submission, store: JobStore, waiting_room: WaitingRoom) -> Blueprint:
    """Routes over these parts."""
    routes = Blueprint("jobs", __name__)

    @routes.post("/jobs")
    def submit() -> Response:
        options = parse_query(SubmitOptions, request.args)
        limit = submission.settings.max_body_bytes
        blocks = csv_blocks(request.stream, request.headers, limit_bytes=limit)
        return _created(submission.submit(options, blocks, _sender()))

    @routes.post("/jobs/<job_id>/retry")
    def retry(job_id: str) -> Response:
        order = parse_order(RetryOrder, json_text(request.stream, request.headers))
        return _created(submission.retry(job_id, order.model, _sender()))

    def _created(submitted: Submitted) -> Response:
        job, applied = waiting_room.wait(submitted.job, request.headers.get("Prefer", ""))
        response = _job_response(job, applied, status=202)
        response.headers["Location"] = f"/jobs/{job.id}"
        if submitted.is_replayed:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    @routes.get("/jobs")
    def list_jobs() -> Response:
        query = parse_query(JobListQuery, request.args)
        wanted = JobFilter(status=query.status, model=query.model, after=query.after)
        jobs, has_more = store.page(wanted, limit=query.limit)
        documents = [representations.job_document(job) for job in jobs]
        return jsonify({"jobs": documents, "has_more": has_more})

    @routes.get("/jobs/<job_id>")
    def show(job_id: str) -> Response:
        job = store.get(job_id)
        job, applied = waiting_room.wait(job, request.headers.get("Prefer", ""))
        response = _job_response(job, applied)
        response.add_etag()
        response.make_conditional(request)
        return response

    @routes.post("/jobs/<job_id>/cancel")
    def cancel(job_id: str) -> Response:
        store.cancel(job_id)
        return _job_response(store.get(job_id), status=202)

    @routes.delete("/jobs/<job_id>")
    def delete(job_id: str) -> Response:
        store.delete(job_id)
        return Response(status=204)

    return routes


def _sender() -> Sender:
    is_as_long_as_announced = "Content-Encoding" not in request.headers
    return Sender(
        caller=request.remote_addr or "",
        idempotency_key=request.headers.get("Idempotency-Key"),
        announced_bytes=(request.content_length or 0) if is_as_long_as_announced else 0,
    )


def _job_response(job: Job, applied: str | None = None, *, status: int = 200) -> Response:
    response = jsonify(representations.job_document(job))
    response.status_code = status
    if applied:
        response.headers["Preference-Applied"] = applied
    if not job.has_ended:
        seconds = job.eta_seconds or 0
        response.headers["Retry-After"] = str(max(1, min(round(seconds), MAX_RETRY_SECONDS)))
    return response
