"""`/jobs/{id}/results` and `/jobs/{id}/errors`: a pump from the store to the caller."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from flask import Blueprint, Response, request
from werkzeug.datastructures import Headers, MIMEAccept
from werkzeug.exceptions import NotAcceptable
from werkzeug.http import parse_accept_header

from api import representations
from api.answers import Answer
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
        return file_of(_ended(job), texts)

    def followed(job: Job) -> Response:
        client = request.environ.get("gunicorn.socket")
        response = file_of(job, while_there(client, store.follow(job.id)))
        # Last: nothing may come between taking the seat and naming who gives it back.
        response.call_on_close(waiting_room.follow())
        return response

    def file_of(job: Job, texts: Iterator[bytes]) -> Response:
        media_type = wanted_media_type(request.headers)
        return results_of(job, texts, media_type, headers=_as_file(job, "results", media_type))

    @routes.get("/jobs/<job_id>/errors")
    def errors(job_id: str) -> Response:
        job = store.get(job_id)
        parse_query(RowErrorsQuery, request.args)
        texts = store.errors(_ended(job))
        media_type = wanted_media_type(request.headers)
        render = representations.errors_csv if media_type == CSV else representations.errors_ndjson
        headers = _as_file(job, "errors", media_type)
        return _stream(job, render(texts), media_type, headers=headers)

    return routes


def _ended(job: Job) -> Job:
    if not job.has_ended:
        raise JobNotFinishedError(job.id, job.status)
    return job


def results_of(
    job: Job, texts: Iterator[bytes], media_type: str, *, headers: Mapping[str, str]
) -> Response:
    """Result lines under their header, in this format."""
    render = representations.results_csv if media_type == CSV else representations.results_ndjson
    return _stream(job, render(job, texts), media_type, headers=headers)


def _stream(
    job: Job, texts: Iterator[bytes], media_type: str, *, headers: Mapping[str, str]
) -> Response:
    """A streamed answer; a small one is sent at once and with its length."""
    body: Iterable[bytes] = representations.in_pieces(texts)
    headers = {"Vary": "Accept", **headers}
    if job.has_ended and job.chunks_total == 1:
        body = list(body)
        if len(body) <= SENT_AT_ONCE:
            return Answer(b"".join(body), headers=headers, mimetype=media_type)
    return Answer(body, headers=headers, mimetype=media_type)


def _as_file(job: Job, what: str, media_type: str) -> dict[str, str]:
    suffix = "csv" if media_type == CSV else "ndjson"
    return {"Content-Disposition": f'attachment; filename="{job.id}-{what}.{suffix}"'}


def wanted_media_type(headers: Headers) -> str:
    """The format of results that the caller likes best; CSV if there is no wish.

    Raises NotAcceptable.
    """
    return _liked_best(headers.get("Accept"))


@lru_cache(maxsize=256)
def _liked_best(accept: str | None) -> str:
    """Kept for the last headers: there are as few as there are HTTP libraries."""
    # What a wish says of a format besides its name (RFC 9110 §12.5.1), as "charset=utf-8", is met.
    wishes = MIMEAccept(
        (wish.partition(";")[0].strip(), quality)
        for wish, quality in parse_accept_header(accept, MIMEAccept)
    )
    media_type = wishes.best_match([CSV, NDJSON]) if wishes else CSV
    if media_type is None:
        raise NotAcceptable(f"There is {CSV} and {NDJSON}.")
    return media_type
