"""`/models`: what can be scored with."""

from dataclasses import asdict

from flask import Blueprint, Response, jsonify

from api import representations
from api.catalogue import BrokenModel, Catalogue


def make_blueprint(catalogue: Catalogue) -> Blueprint:
    """Routes over these models, and the workers that serve them."""
    routes = Blueprint("models", __name__)

    @routes.get("/models")
    def list_models() -> Response:
        documents = [m for m in catalogue.models() if not isinstance(m, BrokenModel)]
        workers = catalogue.capacities()
        capacities = None if workers is None else [asdict(capacity) for capacity in workers]
        return jsonify({"models": documents, "workers": capacities})

    @routes.get("/models/<reference>")
    def show(reference: str) -> Response:
        return jsonify(catalogue.model(reference))

    @routes.get("/models/<reference>/template.csv")
    def template(reference: str) -> Response:
        text = representations.template_csv(catalogue.serving.meant(reference))
        return Response(text, mimetype="text/csv")

    return routes
