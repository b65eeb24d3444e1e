"""`/openapi.json`: the contract."""

from flask import Blueprint, Response, jsonify

from api.contract.document import document


def make_blueprint() -> Blueprint:
    """Routes over the contract of this version."""
    routes = Blueprint("contract", __name__)
    contract = document()

    @routes.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(contract)

    return routes
