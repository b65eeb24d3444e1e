"""`/jobs/{id}/results` and `/jobs/{id}/errors`: a pump from the store to the caller."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from flask import Blueprint, Response, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import NotAcceptable
from werkzeug.http import parse_accept_header

from api import representations
from api.follower import while_there
from api.query import ResultsQuery, RowErrorsQuery, parse_query, query_parser
from api.waiting import WaitingRoom
from shared.errors import JobNotFinishedError
from shared.job_store.store import JobStore
from shared.jobs import Job

CSV = "text/csv"
NDJSON = "application/x-ndjson"

SENT_AT_ONCE = 2
"""Pieces of an answer: what a small job has."""


def make_blueprint(store: JobStore, waiting_room: WaitingRoom) -> Blueprint:
    """Routes over this store; who follows a job has a seat in this room."""
    routes = Blueprint("results", __name__)
    parse_results_query = query_parser(ResultsQuery)

    @routes.get("/jobs/<job_id>/results")
    def results(job_id: str) -> Response:
        job, texts = store.get_with_results(job_id)
        query = parse_results_query(request.query_string)
        if query.follow and not job.has_ended:
            return followed(job)
        return results_of(_ended(job), texts)

    def followed(job: Job) -> Response:
        client = request.environ.get("gunicorn.socket")
        response = results_of(job, while_there(client, store.follow(job.id)))
        # Last: nothing may come between taking the seat and naming who gives it back.
        response.call_on_close(waiting_room.take_seat())
        return response

    @routes.get("/jobs/<job_id>/errors")
    def errors(job_id: str) -> Response:
        job = store.get(job_id)
        parse_query(RowErrorsQuery, request.args)
        texts = store.errors(_ended(job))
        return _stream(
            job,
            "errors",
            csv=lambda: representations.errors_csv(texts),
            ndjson=lambda: representations.errors_ndjson(texts),
        )

    return routes


def _ended(job: Job) -> Job:
    if not job.has_ended:
        raise JobNotFinishedError(job.id, job.status)
    return job


def results_of(job: Job, texts: Iterator[bytes]) -> Response:
    """Result lines under their header, in the format the caller likes best."""
    return _stream(
        job,
        "results",
        csv=lambda: representations.results_csv(job, texts),
        ndjson=lambda: representations.results_ndjson(job, texts),
    )


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
    body: Iterable[bytes] = representations.in_pieces(csv() if is_csv else ndjson())
    if job.has_ended and job.chunks_total == 1:
        pieces = list(body)
        # So little is sent at once and with its length.
        body = pieces if len(pieces) > SENT_AT_ONCE else [b"".join(pieces)]
    response = Response(body, mimetype=media_type)
    name = f"{job.id}-{what}.{'csv' if is_csv else 'ndjson'}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Vary"] = "Accept"
    return response


def wanted_media_type() -> str:
    """The format of results that the caller likes best; CSV if there is no wish.

    Raises NotAcceptable.
    """
    return _liked_best(request.headers.get("Accept"))


@lru_cache(maxsize=256)
def _liked_best(accept: str | None) -> str:
    """Kept for the last headers: there are as few as there are HTTP libraries."""
    wishes = parse_accept_header(accept, MIMEAccept)
    media_type = wishes.best_match([CSV, NDJSON]) if wishes else CSV
    if media_type is None:
        raise NotAcceptable(f"There is {CSV} and {NDJSON}.")
    return media_type
