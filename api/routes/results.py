"""`/jobs/{id}/results` and `/jobs/{id}/errors`: a pump from the store to the caller."""

from collections.abc import Callable, Iterator

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotAcceptable

from api import representations
from api.query import ResultsQuery, parse_query
from shared.errors import JobNotFinishedError
from shared.job_store.store import JobStore
from shared.jobs import Job

CSV = "text/csv"
NDJSON = "application/x-ndjson"


def make_blueprint(store: JobStore) -> Blueprint:
    """Routes over this store."""
    routes = Blueprint("results", __name__)

    @routes.get("/jobs/<job_id>/results")
    def results(job_id: str) -> Response:
        job = _ended_job(store, job_id)
        texts = store.results(job)
        return _stream(
            job,
            "results",
            csv=lambda: representations.results_csv(job, texts),
            ndjson=lambda: representations.results_ndjson(job, texts),
        )

    @routes.get("/jobs/<job_id>/errors")
    def errors(job_id: str) -> Response:
        job = _ended_job(store, job_id)
        texts = store.errors(job)
        return _stream(
            job,
            "errors",
            csv=lambda: representations.errors_csv(texts),
            ndjson=lambda: representations.errors_ndjson(texts),
        )

    return routes


def _ended_job(store: JobStore, job_id: str) -> Job:
    job = store.get(job_id)
    parse_query(ResultsQuery, request.args)
    if not job.has_ended:
        raise JobNotFinishedError(job_id, job.status)
    return job


def _stream(
    job: Job,
    what: str,
    *,
    csv: Callable[[], Iterator[bytes]],
    ndjson: Callable[[], Iterator[bytes]],
) -> Response:
    """A streamed answer in the format the caller likes best."""
    media_type = wanted_media_type()
    is_csv = media_type == CSV
    response = Response(csv() if is_csv else ndjson(), mimetype=media_type)
    name = f"{job.id}-{what}.{'csv' if is_csv else 'ndjson'}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Vary"] = "Accept"
    return response


def wanted_media_type() -> str:
    """The format of results that the caller likes best; CSV if there is no wish.

    Raises NotAcceptable.
    """
    wishes = request.accept_mimetypes
    media_type = wishes.best_match([CSV, NDJSON]) if wishes else CSV
    if media_type is None:
        raise NotAcceptable(f"There is {CSV} and {NDJSON}.")
    return media_type
