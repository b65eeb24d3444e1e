"""`/models`: what can be scored with."""

from dataclasses import asdict

from flask import Blueprint, Response, jsonify

from api import representations
from shared.errors import StoreError
from shared.job_store.workers import WorkerRegistry
from shared.manifest import Manifest
from shared.model_repository import ModelRepository


def make_blueprint(repository: ModelRepository, workers: WorkerRegistry) -> Blueprint:
    """Routes over this repository, and the workers that serve it."""
    routes = Blueprint("models", __name__)

    def document(manifest: Manifest) -> dict[str, object]:
        return representations.model_document(manifest, repository.versions(manifest.name))

    @routes.get("/models")
    def list_models() -> Response:
        models = [document(manifest) for manifest in repository.newest()]
        return jsonify({"models": models, "workers": capacities()})

    def capacities() -> list[dict[str, int]] | None:
        """What the live workers score with; None while the store can't tell."""
        try:
            return [asdict(capacity) for capacity in workers.live().values()]
        except StoreError:
            return None

    @routes.get("/models/<reference>")
    def show(reference: str) -> Response:
        return jsonify(document(repository.resolve(reference)))

    @routes.get("/models/<reference>/template.csv")
    def template(reference: str) -> Response:
        manifest = repository.resolve(reference)
        return Response(representations.template_csv(manifest), mimetype="text/csv")

    return routes
