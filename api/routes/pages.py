"""`/` and `/ui/models`: the pages of models."""

from flask import Blueprint, render_template

from api.callers import current_caller
from api.catalogue import BrokenModel, Catalogue
from shared.errors import StoreError
from shared.job_store.store import JobFilter, JobStore
from shared.jobs import Job

RECENT_JOBS = 5
"""Shown on the first page; there is a page with all of them."""


def make_blueprint(catalogue: Catalogue, store: JobStore) -> Blueprint:
    """Pages over these models and jobs."""
    routes = Blueprint("pages", __name__)

    @routes.get("/")
    def home() -> str:
        models = list(catalogue.models())
        return render_template(
            "home.html",
            models=[model for model in models if not isinstance(model, BrokenModel)],
            broken_models=[model for model in models if isinstance(model, BrokenModel)],
            workers=catalogue.capacities(),
            jobs=recent_jobs(),
        )

    def recent_jobs() -> list[Job] | None:
        """None while the store can't tell."""
        try:
            return store.page(JobFilter(owner=current_caller().sees_jobs_of), limit=RECENT_JOBS)[0]
        except StoreError:
            return None

    return routes
