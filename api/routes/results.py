"""`/jobs/{id}/results` and `/jobs/{id}/errors`: a pump from the store to the caller."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from flask import Blueprint, Response, request

from api import representations
from api.answers import Answer
from api.follower import while_there
from api.query import ResultsQuery, RowErrorsQuery, query_parser
from api.result_formats import ERROR_LAYOUT, Layout, ResultFormat, liked_best, rendered
from api.waiting import WaitingRoom
from shared.errors import JobNotFinishedError
from shared.job_store.store import JobStore
from shared.jobs import Job

SENT_AT_ONCE = 3
"""Pieces of an answer: what a small job has, with what stands before and behind its rows."""


def make_blueprint(
    store: JobStore, waiting_room: WaitingRoom, *, guards_formulas: bool
) -> Blueprint:
    """Routes over this store; who follows a job has a seat in this room.

    `guards_formulas`: whether they do so in a CSV where the request does not say.
    """
    routes = Blueprint("results", __name__)
    parse_results_query = query_parser(ResultsQuery)
    parse_errors_query = query_parser(RowErrorsQuery)

    @routes.get("/jobs/<job_id>/results")
    def results(job_id: str) -> Response:
        query = parse_results_query(request.query_string)
        job, texts = store.get_with_results(job_id, query.rows)
        if query.follow and not job.has_ended:
            return followed(job, query)
        return file_of(_ended(job), _begun(texts), query)

    def followed(job: Job, query: ResultsQuery) -> Response:
        client = request.environ.get("gunicorn.socket")
        texts = while_there(client, store.follow(job.id, query.rows))
        response = file_of(job, texts, query)
        # Last: nothing may come between taking the seat and naming who gives it back.
        response.call_on_close(waiting_room.follow())
        return response

    def file_of(job: Job, texts: Iterator[bytes], query: ResultsQuery) -> Response:
        wanted = _wanted_format(query)
        headers = _as_file(job, "results", wanted)
        return results_of(job, texts, wanted, headers=headers, guards_formulas=guards(query))

    @routes.get("/jobs/<job_id>/errors")
    def errors(job_id: str) -> Response:
        query = parse_errors_query(request.query_string)
        job = _ended(store.get(job_id))
        wanted = _wanted_format(query)
        texts = _begun(store.errors(job, query.rows))
        body = rendered(ERROR_LAYOUT, texts, wanted, guards_formulas=guards(query))
        return _stream(job, body, wanted, headers=_as_file(job, "errors", wanted))

    def guards(query: RowErrorsQuery) -> bool:
        return guards_formulas if query.guard_formulas is None else query.guard_formulas

    return routes


def _begun(texts: Iterator[bytes]) -> Iterator[bytes]:
    """The same texts, of which the first is read already: a store that is away is told by a status
    then, and not by an answer that breaks off."""
    first = next(texts, None)
    return chain(() if first is None else (first,), texts)


def _wanted_format(query: RowErrorsQuery) -> ResultFormat:
    """Raises NotAcceptable."""
    return query.format or liked_best(request.headers.get("Accept"))


def _ended(job: Job) -> Job:
    if not job.has_ended:
        raise JobNotFinishedError(job.id, job.status)
    return job


def results_of(
    job: Job,
    texts: Iterator[bytes],
    wanted: ResultFormat,
    *,
    headers: Mapping[str, str],
    guards_formulas: bool = False,
) -> Response:
    """Result lines in this format."""
    body = rendered(Layout.of_results(job), texts, wanted, guards_formulas=guards_formulas)
    return _stream(job, body, wanted, headers=headers)


def _stream(
    job: Job, texts: Iterator[bytes], wanted: ResultFormat, *, headers: Mapping[str, str]
) -> Response:
    """A streamed answer; a small one is sent at once and with its length."""
    body: Iterable[bytes] = representations.in_pieces(texts)
    headers = {"Vary": "Accept", **headers}
    if job.has_ended and job.chunks_total == 1:
        body = list(body)
        if len(body) <= SENT_AT_ONCE:
            return Answer(b"".join(body), headers=headers, mimetype=wanted.media_type)
    return Answer(body, headers=headers, mimetype=wanted.media_type)


def _as_file(job: Job, what: str, wanted: ResultFormat) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{job.id}-{what}.{wanted.suffix}"'}
