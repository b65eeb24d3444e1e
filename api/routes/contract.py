"""`/openapi.json` and `/docs`: the contract for programs and for people."""

from flask import Blueprint, Response, jsonify, render_template

from api.contract.document import document
from api.contract.reading import read


def make_blueprint() -> Blueprint:
    """Routes over the contract of this version."""
    routes = Blueprint("contract", __name__)
    contract = document()
    reading = read(contract)

    @routes.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(contract)

    @routes.get("/docs")
    def docs() -> str:
        return render_template("docs.html", contract=reading)

    return routes
