"""`/models`: what can be scored with."""

import logging
from collections.abc import Iterator
from dataclasses import asdict

from flask import Blueprint, Response, jsonify

from api import representations
from api.model_documents import Standing, model_document
from api.serving import Serving
from shared.errors import ModelError, StoreError
from shared.job_store.model_reports import ModelReports
from shared.job_store.workers import WorkerRegistry
from shared.model_repository import ModelRepository

logger = logging.getLogger(__name__)


def make_blueprint(
    repository: ModelRepository, serving: Serving, reports: ModelReports, workers: WorkerRegistry
) -> Blueprint:
    """Routes over this repository, and the workers that serve it."""
    routes = Blueprint("models", __name__)

    @routes.get("/models")
    def list_models() -> Response:
        return jsonify({"models": list(documents()), "workers": capacities()})

    def documents() -> Iterator[dict[str, object]]:
        """Those that can be told of: one that is broken hides no other."""
        standing = current_standing()
        for name in repository.names():
            try:
                yield model_document(serving.meant(name), repository, standing)
            except ModelError as error:
                logger.warning("model left out", extra={"model": name, "reason": str(error)})

    def current_standing() -> Standing:
        """Models are shown while the store can't tell how they do."""
        try:
            return Standing.read(reports)
        except StoreError:
            return Standing()

    def capacities() -> list[dict[str, int]] | None:
        """What the live workers score with; None while the store can't tell."""
        try:
            return [asdict(capacity) for capacity in workers.live().values()]
        except StoreError:
            return None

    @routes.get("/models/<reference>")
    def show(reference: str) -> Response:
        manifest = serving.meant(reference)
        return jsonify(model_document(manifest, repository, current_standing()))

    @routes.get("/models/<reference>/template.csv")
    def template(reference: str) -> Response:
        text = representations.template_csv(serving.meant(reference))
        return Response(text, mimetype="text/csv")

    return routes
