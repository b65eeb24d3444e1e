"""`/ui/jobs`: the pages of jobs, and what can be done on them."""

from flask import Blueprint, Response, redirect, render_template, request
from werkzeug.datastructures import MultiDict

from api.callers import current_caller
from api.pages.frame import is_fragment
from api.pages.jobs import JobPages
from api.query import JobListQuery, parse_query
from api.routes.jobs import current_request, sender
from api.submission import Submission
from shared.jobs import Job, JobStatus


def make_blueprint(pages: JobPages, submission: Submission) -> Blueprint:
    """Pages over these jobs."""
    routes = Blueprint("job_pages", __name__, url_prefix="/ui/jobs")
    store = pages.store

    @routes.get("")
    def list_jobs() -> str:
        # A form sends what was not chosen, too.
        given = MultiDict((name, value) for name, value in request.args.items(multi=True) if value)
        page = pages.list(parse_query(JobListQuery, given), owner=current_caller().sees_jobs_of)
        template = "job_list_part.html" if is_fragment() else "job_list.html"
        return render_template(template, page=page, statuses=list(JobStatus))

    @routes.get("/<job_id>")
    def show(job_id: str) -> str:
        template = "job_part.html" if is_fragment() else "job.html"
        return render_template(template, page=pages.job(job_id))

    @routes.post("/<job_id>/cancel")
    def cancel(job_id: str) -> Response:
        store.cancel(job_id)
        return _see(store.get(job_id).id)

    @routes.post("/<job_id>/retry")
    def retry(job_id: str) -> Response:
        job = submission.retry(job_id, None, sender(current_request())).job
        return _see(job.id if isinstance(job, Job) else job.job_id)

    @routes.post("/<job_id>/delete")
    def delete(job_id: str) -> Response:
        store.delete(job_id)
        return _see("")

    return routes


def _see(job_id: str) -> Response:
    """Shows a job, or all of them, in answer to a form."""
    # The type that werkzeug gives to it is that of all responses.
    return redirect(f"/ui/jobs/{job_id}".rstrip("/"), code=303)  # type: ignore[return-value]
