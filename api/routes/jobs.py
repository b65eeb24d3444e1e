"""`/jobs`: submit, list, look at, cancel, retry, delete."""

from flask import Blueprint, Request, Response, jsonify, request

from api import representations
from api.callers import current_caller
from api.drift_report import compared, drift_warnings
from api.intake.bodies import Body, json_text, table_body
from api.limits import current_allowance
from api.query import (
    JobListQuery,
    NoQuery,
    RetryOrder,
    parse_order,
    parse_query,
    query_parser,
)
from api.specification import SubmitOptions
from api.submission import Sender, Submission, Submitted
from api.waiting import Wait, WaitingRoom
from shared.job_store.ends import Seen
from shared.job_store.store import JobStore
from shared.jobs import Job
from shared.model_repository import ModelRepository

MAX_RETRY_SECONDS = 30
"""A caller who polls is never told to stay away for longer, however long the job takes."""


def make_blueprint(submission: Submission, store: JobStore, waiting_room: WaitingRoom) -> Blueprint:
    """Routes over these parts."""
    routes = Blueprint("jobs", __name__)
    parse_options = query_parser(SubmitOptions)
    repository = submission.repository

    @routes.post("/jobs")
    def submit() -> Response:
        sent = current_request()
        options = parse_options(sent.query_string)
        with waiting_room.wait(sent) as wait:
            sent_by = sender(sent, wait)
            submitted = submission.submit(options, body_of(sent, submission), sent_by)
            return _created(submitted, wait)

    @routes.post("/jobs/<job_id>/retry")
    def retry(job_id: str) -> Response:
        sent = current_request()
        order = parse_order(RetryOrder, json_text(sent.stream, sent.headers))
        with waiting_room.wait(sent) as wait:
            sent_by = sender(sent, wait)
            return _created(submission.retry(job_id, order.model, sent_by), wait)

    def _created(submitted: Submitted, wait: Wait) -> Response:
        def answer(seen: Seen) -> Response:
            return accepted(seen.job, repository, wait, is_replayed=submitted.is_replayed)

        return wait.answered(submitted.job, answer)

    @routes.get("/jobs")
    def list_jobs() -> Response:
        query = parse_query(JobListQuery, request.args)
        wanted = query.as_filter(owner=current_caller().sees_jobs_of)
        jobs, has_more = store.page(wanted, limit=query.limit)
        documents = [_document(job, repository) for job in jobs]
        return jsonify({"jobs": documents, "has_more": has_more})

    @routes.get("/jobs/<job_id>")
    def show(job_id: str) -> Response:
        job = store.get(job_id)
        with waiting_room.wait(current_request()) as wait:
            return wait.answered(job, lambda seen: _shown(seen.job, wait))

    def _shown(job: Job, wait: Wait) -> Response:
        response = _job_response(job, repository, wait.applied)
        response.add_etag()
        response.make_conditional(request)
        return response

    @routes.get("/jobs/<job_id>/features")
    def features(job_id: str) -> Response:
        job = store.get(job_id)
        parse_query(NoQuery, request.args)
        return jsonify(representations.features_document(job, compared(job, repository)))

    @routes.post("/jobs/<job_id>/cancel")
    def cancel(job_id: str) -> Response:
        store.cancel(job_id)
        return _job_response(store.get(job_id), repository, status=202)

    @routes.delete("/jobs/<job_id>")
    def delete(job_id: str) -> Response:
        store.delete(job_id)
        return Response(status=204)

    return routes


def current_request() -> Request:
    """The request itself: Flask's proxy for it looks it up anew at every use."""
    # The type that Flask gives to its proxy is that of what it stands for.
    return request._get_current_object()  # type: ignore[attr-defined, no-any-return]


def body_of(sent: Request, submission: Submission) -> Body:
    """The table of a request. Raises UnsupportedMediaTypeError, BodyTooLargeError, and what a form
    is refused with."""
    limit = submission.settings.max_body_bytes
    return table_body(sent.stream, sent.headers, limit_bytes=limit)


def sender(sent: Request, wait: Wait | None = None) -> Sender:
    """What the request says of who sends it, and waits."""
    headers = sent.headers
    caller = current_caller()
    is_as_long_as_announced = "Content-Encoding" not in headers
    return Sender(
        owner=caller.id,
        caller=caller.id or sent.remote_addr or "",
        allowance=current_allowance(),
        idempotency_key=headers.get("Idempotency-Key"),
        announced_bytes=(sent.content_length or 0) if is_as_long_as_announced else 0,
        channel=wait.channel if wait else "",
    )


def accepted(job: Job, repository: ModelRepository, wait: Wait, *, is_replayed: bool) -> Response:
    """202 with a job that a request made, as it is now."""
    response = _job_response(job, repository, wait.applied, status=202)
    response.headers["Location"] = f"/jobs/{job.id}"
    if is_replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def _document(job: Job, repository: ModelRepository) -> dict[str, object]:
    return representations.job_document(job, drift_warnings(job, repository))


def _job_response(
    job: Job, repository: ModelRepository, applied: str | None = None, *, status: int = 200
) -> Response:
    response = jsonify(_document(job, repository))
    response.status_code = status
    if applied:
        response.headers["Preference-Applied"] = applied
    if not job.has_ended:
        seconds = job.eta_seconds or 0
        response.headers["Retry-After"] = str(max(1, min(round(seconds), MAX_RETRY_SECONDS)))
    return response
