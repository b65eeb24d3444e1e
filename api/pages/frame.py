"""What all pages have in common: whether they are whole, and how they tell of errors.

A page is what a browser shows, at `/` and `/docs` and under `/ui/`; all other routes are the API.
"""

from http import HTTPStatus

from flask import Flask, Response, render_template, request

TITLES = {
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.GONE: "No longer here",
    HTTPStatus.TOO_MANY_REQUESTS: "Too busy just now",
    HTTPStatus.SERVICE_UNAVAILABLE: "Out of reach just now",
}
"""Of problems whose status says all."""


def is_page(path: str) -> bool:
    """Whether a browser shows what is at this path."""
    return path in ("/", "/ui", "/docs") or path.startswith("/ui/")


def install(app: Flask) -> None:
    """Prepare `app` for pages and parts of them."""
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.after_request(_tell_caches_of_parts)


def is_fragment() -> bool:
    """Whether the request wants a part of a page, for one that is open already."""
    return request.headers.get("HX-Request") == "true"


def problem_page(status: HTTPStatus, code: str, detail: str, **members: object) -> Response:
    """A problem as a page for people, or as a part of one."""
    text = render_template(
        "problem_notice.html" if is_fragment() else "problem.html",
        title=_title(status, has_list="errors" in members),
        code=code,
        detail=detail,
        problems=members.get("errors", ()),
    )
    return Response(text, status=status.value)


def _title(status: HTTPStatus, *, has_list: bool) -> str:
    """What has happened, in words of people and not of HTTP."""
    if has_list:
        return "The columns do not fit the model"
    if status in TITLES:
        return TITLES[status]
    return (
        "This was refused" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "Something went wrong"
    )


def _tell_caches_of_parts(response: Response) -> Response:
    if is_page(request.path):
        response.vary.add("HX-Request")
    return response
