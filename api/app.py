"""Composition root of the API: every part is made here and handed down."""

import csv
from functools import partial

from flask import Flask, Response, request

from api import problems
from api.answers import Answer
from api.catalogue import Catalogue
from api.deferral import RESUME
from api.group_intake import GroupIntake
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
    model_pages,
    models,
    pages,
    predict,
    results,
    status,
)
from api.serving import Serving
from api.speeds import Speeds
from api.submission import Submission
from api.uploads import Uploads
from api.waiting import WaitingRoom
from shared.dispatch import Dispatcher, make_celery
from shared.job_store.connection import connect
from shared.job_store.deliveries import Deliveries
from shared.job_store.ends import Ends
from shared.job_store.intake import JobIntake
from shared.job_store.job_chunks import JobChunks
from shared.job_store.model_reports import ModelReports
from shared.job_store.overview import Overviews
from shared.job_store.progress import Progress
from shared.job_store.store import JobStore
from shared.job_store.workers import WorkerRegistry
from shared.model_repository import ModelRepository
from shared.settings import Settings

UPLOADS = "rowmill_uploads"
"""Name under which the application hands its uploads to the server that stops it."""


def create_app(settings: Settings) -> Flask:
    """The WSGI application. Connects to nothing until the first request."""
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
    dispatcher = Dispatcher(make_celery(settings))
    repository = ModelRepository(settings.models_dir)
    reports = ModelReports(redis)
    serving = Serving(repository, reports)
    catalogue = Catalogue(repository=repository, serving=serving, reports=reports, workers=workers)
    submission = Submission(
        settings=settings,
        repository=repository,
        serving=serving,
        store=store,
        speeds=Speeds(workers),
        reception=Reception(
            intake=intake,
            store=store,
            uploads=uploads,
            dispatcher=dispatcher,
            group_intake=GroupIntake(intake, ends, wake=partial(wake, dispatcher)),
        ),
    )
    waiting_room = WaitingRoom(
        ends,
        max_seconds=settings.max_wait_seconds,
        seats=settings.max_waiting_requests,
    )

    # Results are read with the csv module, whose default limit is less than a cell may hold.
    csv.field_size_limit(settings.max_record_bytes)
    app = Flask(__name__, static_folder=None)
    app.response_class = Answer
    app.json.sort_keys = False  # type: ignore[attr-defined]  # documents are written in reading order

    _prepare_requests(app, settings)
    app.register_blueprint(jobs.make_blueprint(submission, store, waiting_room))
    app.register_blueprint(predict.make_blueprint(submission, store, waiting_room))
    app.register_blueprint(results.make_blueprint(store, waiting_room))
    app.register_blueprint(deliveries.make_blueprint(store, Deliveries(redis)))
    progress = Progress(redis, store)
    app.register_blueprint(events.make_blueprint(store, progress, waiting_room, repository))
    overviews = Overviews(redis, dead_after_seconds=settings.dead_after_seconds)
    most = settings.max_waiting_rows
    app.register_blueprint(status.make_blueprint(overviews, max_waiting_rows=most))
    app.register_blueprint(models.make_blueprint(catalogue))
    app.register_blueprint(health.make_blueprint(Readiness(workers, reports)))
    app.register_blueprint(contract.make_blueprint())
    app.register_blueprint(pages.make_blueprint(catalogue, store))
    chunks = JobChunks(redis)
    findings = JobFindings(store, chunks, repository)
    shown = JobPages(store=store, chunks=chunks, repository=repository, findings=findings)
    app.register_blueprint(job_pages.make_blueprint(shown, submission))
    scorer = RowScorer(submission=submission, store=store, waiting_room=waiting_room)
    app.register_blueprint(model_pages.make_blueprint(catalogue, submission, scorer, waiting_room))
    app.extensions[UPLOADS] = uploads
    assets.install(app)
    formats.install(app)
    frame.install(app)
    problems.install(app)
    return app


def _prepare_requests(app: Flask, settings: Settings) -> None:
    """What happens before any view."""

    @app.before_request
    def bound_silence() -> None:
        """Without a bound a client that falls silent would hold its thread for ever."""
        if connection := request.environ.get("gunicorn.socket"):
            connection.settimeout(settings.max_silence_seconds)

    @app.before_request
    def resume() -> Response | None:
        """A request that waited goes on where it was, and not from the beginning."""
        go_on = request.environ.get(RESUME)
        return go_on() if go_on else None
