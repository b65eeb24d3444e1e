"""Composition root of the API: every part is made here and handed down."""

import csv
from dataclasses import dataclass
from functools import partial

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

from api import access_log, audit, auth, exchange, guards, problems, request_spans, security_headers
from api.answers import Answer
from api.catalogue import Catalogue
from api.deferral import RESUME
from api.group_intake import GroupIntake
from api.http_metrics import HttpMetrics
from api.known_keys import KnownKeys
from api.limits import Limits
from api.pages import assets, formats, frame
from api.pages.findings import JobFindings
from api.pages.jobs import JobPages
from api.pages.row_scoring import RowScorer
from api.readiness import Readiness
from api.reception import Reception, wake
from api.routes import (
    contract,
    deliveries,
    events,
    health,
    job_pages,
    jobs,
    metrics,
    model_pages,
    models,
    pages,
    predict,
    results,
    sign_in,
    status,
)
from api.service_metrics import ServiceMetrics
from api.serving import Serving
from api.speeds import Speeds
from api.submission import Submission
from api.uploads import Uploads
from api.waiting import WaitingRoom
from shared import tracing
from shared.dispatch import Dispatcher, make_celery
from shared.job_store.api_keys import ApiKeys
from shared.job_store.connection import connect
from shared.job_store.deliveries import Deliveries
from shared.job_store.ends import Ends
from shared.job_store.intake import JobIntake
from shared.job_store.job_chunks import JobChunks
from shared.job_store.limit_storage import limit_storage
from shared.job_store.model_reports import ModelReports
from shared.job_store.overview import Overviews
from shared.job_store.progress import Progress
from shared.job_store.sessions import Sessions
from shared.job_store.store import JobStore
from shared.job_store.workers import WorkerRegistry
from shared.metrics import AllProcesses
from shared.model_repository import ModelRepository
from shared.settings import Settings

UPLOADS = "rowmill_uploads"
"""Name under which the application hands its uploads to the server that stops it."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What requests are answered with."""

    settings: Settings
    store: JobStore
    submission: Submission
    waiting_room: WaitingRoom
    uploads: Uploads
    catalogue: Catalogue
    readiness: Readiness
    deliveries: Deliveries
    progress: Progress
    overviews: Overviews
    service_metrics: ServiceMetrics
    chunks: JobChunks
    guard: auth.Guard
    limits: Limits

    @property
    def repository(self) -> ModelRepository:
        return self.submission.repository


def create_app(settings: Settings) -> Flask:
    """The WSGI application. Connects to nothing until the first request."""
    # Results are read with the csv module, whose default limit is less than a cell may hold.
    csv.field_size_limit(settings.max_record_bytes)
    app = Flask(__name__, static_folder=None)
    app.response_class = Answer
    if proxies := settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies)  # type: ignore[method-assign]
    app.json.sort_keys = False  # type: ignore[attr-defined]  # documents are written in reading order
    parts = _make_parts(settings)
    guards.install(app, allowed_hosts=settings.host_names)
    _watch_requests(app, settings)
    _prepare_requests(app, parts)
    _add_routes(app, parts)
    _add_pages(app, parts)
    if settings.needs_keys:
        audit.install(app)
    app.extensions[UPLOADS] = parts.uploads
    assets.install(app)
    formats.install(app)
    frame.install(app)
    problems.install(app)
    security_headers.install(app)
    return app


def _make_parts(settings: Settings) -> Parts:
    redis = connect(settings.redis_url)
    store = JobStore(redis)
    intake = JobIntake(
        redis,
        tombstone_seconds=settings.tombstone_seconds,
        max_retention_seconds=settings.max_retention_seconds,
        max_waiting_rows=settings.max_waiting_rows,
    )
    workers = WorkerRegistry(
        redis,
        dead_after_seconds=settings.dead_after_seconds,
        max_job_losses=settings.max_job_losses,
    )
    uploads = Uploads(intake, store)
    ends = Ends(redis, store)
    repository = ModelRepository(settings.models_dir)
    reports = ModelReports(redis)
    serving = Serving(repository, reports)
    overviews = Overviews(redis, dead_after_seconds=settings.dead_after_seconds)
    return Parts(
        settings=settings,
        store=store,
        submission=Submission(
            settings=settings,
            repository=repository,
            serving=serving,
            store=store,
            speeds=Speeds(workers),
            reception=_make_reception(settings, intake, store, uploads=uploads, ends=ends),
        ),
        waiting_room=WaitingRoom(
            ends,
            max_seconds=settings.max_wait_seconds,
            seats=settings.max_waiting_requests,
        ),
        uploads=uploads,
        catalogue=Catalogue(
            repository=repository, serving=serving, reports=reports, workers=workers
        ),
        readiness=Readiness(workers, reports),
        deliveries=Deliveries(redis),
        progress=Progress(redis, store),
        overviews=overviews,
        service_metrics=ServiceMetrics(
            overviews=overviews, workers=workers, reports=reports, repository=repository
        ),
        chunks=JobChunks(redis),
        guard=auth.Guard(
            keys=KnownKeys(ApiKeys(redis)),
            sessions=Sessions(redis),
            store=store,
            needs_keys=settings.needs_keys,
            metrics_token=settings.metrics_token,
        ),
        limits=Limits(limit_storage(redis), settings),
    )


def _make_reception(
    settings: Settings, intake: JobIntake, store: JobStore, *, uploads: Uploads, ends: Ends
) -> Reception:
    dispatcher = Dispatcher(make_celery(settings))
    return Reception(
        intake=intake,
        store=store,
        uploads=uploads,
        dispatcher=dispatcher,
        group_intake=GroupIntake(intake, ends, wake=partial(wake, dispatcher)),
    )


def _add_routes(app: Flask, parts: Parts) -> None:
    """What programs call."""
    store, room, submission = parts.store, parts.waiting_room, parts.submission
    app.register_blueprint(jobs.make_blueprint(submission, store, room))
    app.register_blueprint(predict.make_blueprint(submission, store, room))
    guards_formulas = parts.settings.guard_formulas
    app.register_blueprint(results.make_blueprint(store, room, guards_formulas=guards_formulas))
    app.register_blueprint(deliveries.make_blueprint(store, parts.deliveries))
    app.register_blueprint(events.make_blueprint(store, parts.progress, room, parts.repository))
    most = parts.settings.max_waiting_rows
    app.register_blueprint(status.make_blueprint(parts.overviews, max_waiting_rows=most))
    app.register_blueprint(metrics.make_blueprint(parts.service_metrics, AllProcesses()))
    app.register_blueprint(models.make_blueprint(parts.catalogue))
    app.register_blueprint(health.make_blueprint(parts.readiness))
    app.register_blueprint(contract.make_blueprint())


def _add_pages(app: Flask, parts: Parts) -> None:
    """What browsers show."""
    store, submission, room = parts.store, parts.submission, parts.waiting_room
    findings = JobFindings(store, parts.chunks, parts.repository)
    shown = JobPages(
        store=store, chunks=parts.chunks, repository=parts.repository, findings=findings
    )
    scorer = RowScorer(submission=submission, store=store, waiting_room=room)
    app.register_blueprint(sign_in.make_blueprint(parts.guard))
    app.register_blueprint(pages.make_blueprint(parts.catalogue, store))
    app.register_blueprint(job_pages.make_blueprint(shown, submission))
    app.register_blueprint(model_pages.make_blueprint(parts.catalogue, submission, scorer, room))


def _watch_requests(app: Flask, settings: Settings) -> None:
    """What is noted of all requests, whatever becomes of them: before all else."""
    exchange.install(app)
    if settings.access_log:
        access_log.install(app)
    if tracing.is_on():
        request_spans.install(app)
    # Before the others, so that it measures what all others take.
    HttpMetrics().install(app)


def _prepare_requests(app: Flask, parts: Parts) -> None:
    """What happens before any view."""

    @app.before_request
    def bound_silence() -> None:
        """Without a bound a client that falls silent would hold its thread for ever."""
        if connection := request.environ.get("gunicorn.socket"):
            connection.settimeout(parts.settings.max_silence_seconds)

    @app.before_request
    def resume() -> Response | None:
        """A request that waited goes on where it was, and not from the beginning."""
        go_on = request.environ.get(RESUME)
        if not go_on:
            return None
        answer: Response = go_on()
        parts.guard.check_still_good()
        return answer

    # Last: who waits was let in before, and counted.
    auth.install(app, parts.guard)
    if parts.settings.needs_keys:
        parts.limits.install(app)
    # Behind the limits: what is refused counts, too, or ids could be tried without end.
    app.before_request(parts.guard.admit)
