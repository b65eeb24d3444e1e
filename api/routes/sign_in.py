"""`/ui/sign-in` and `/ui/sign-out`: a browser shows an API key once, and a session begins."""

from http import HTTPStatus

from flask import Blueprint, Response, redirect, render_template, request

from api import cookies
from api.auth import Guard
from api.pages.way_in import SIGN_IN, local_page
from api.routes.jobs import current_request
from shared.errors import InvalidApiKeyError

MAX_FORM_BYTES = 16 * 1024
"""A key and the path of a page are shorter."""


def make_blueprint(guard: Guard) -> Blueprint:
    """Pages over this guard, who lets browsers in."""
    routes = Blueprint("sign_in", __name__)

    @routes.get(SIGN_IN)
    def show() -> Response:
        wanted = local_page(request.args.get("next", ""))
        if not guard.needs_keys or guard.visitor():
            return _see(wanted)
        return _page(wanted)

    @routes.post(SIGN_IN)
    def sign_in() -> Response:
        request.max_content_length = MAX_FORM_BYTES
        wanted = local_page(request.form.get("next", ""))
        if not guard.needs_keys:
            return _see(wanted)
        try:
            token = guard.sign_in(request.form.get("key", "").strip())
        except InvalidApiKeyError as error:
            return _page(wanted, str(error))
        response = _see(wanted)
        cookies.give(current_request(), response, token)
        return response

    @routes.post("/ui/sign-out")
    def sign_out() -> Response:
        guard.sign_out()
        response = _see(SIGN_IN)
        cookies.take_back(current_request(), response)
        return response

    return routes


def _page(wanted: str, refusal: str = "") -> Response:
    text = render_template("sign_in.html", wanted=wanted, refusal=refusal)
    status = HTTPStatus.UNAUTHORIZED if refusal else HTTPStatus.OK
    return Response(text, status=status, headers={"WWW-Authenticate": "Bearer"} if refusal else {})


def _see(path: str) -> Response:
    # The type that werkzeug gives to it is that of all responses.
    return redirect(path, code=303)  # type: ignore[return-value]
