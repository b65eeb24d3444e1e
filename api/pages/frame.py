"""What all pages have in common: their headers, their guard against other sites, how they tell of
errors.

A page is what a browser shows, at `/` and `/docs` and under `/ui/`; all other routes are the API.
"""

from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Flask, Response, render_template, request

from shared.errors import CrossSiteError

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    )
)
"""Nothing from another host, nothing inline, nothing evaluated, and no other site's frame around
it."""

TITLES = {
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.GONE: "No longer here",
    HTTPStatus.TOO_MANY_REQUESTS: "Too busy just now",
    HTTPStatus.SERVICE_UNAVAILABLE: "Out of reach just now",
}
"""Of problems whose status says all."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

OWN_SITES = ("same-origin", "none")
"""`Sec-Fetch-Site` of a request that a page of ours made, or the user by hand."""


def is_page(path: str) -> bool:
    """Whether a browser shows what is at this path."""
    return path in ("/", "/ui", "/docs") or path.startswith("/ui/")


def install(app: Flask) -> None:
    """Guard the pages of `app` and give them their headers."""
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    app.before_request(_refuse_other_sites)
    app.after_request(_add_headers)


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


def _refuse_other_sites() -> None:
    """No other site may make a browser write here (cross-site request forgery).

    Browsers say where a request comes from; who says nothing, such as curl, is no browser.
    Raises CrossSiteError.
    """
    if request.method in SAFE_METHODS or not is_page(request.path):
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        is_own = site in OWN_SITES
    else:
        is_own = origin is None or urlsplit(origin).netloc == request.host
    if not is_own:
        raise CrossSiteError


def _add_headers(response: Response) -> Response:
    # Of results, too: what a client sent is in them, and is no page.
    response.headers["X-Content-Type-Options"] = "nosniff"
    if is_page(request.path):
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers["Referrer-Policy"] = "same-origin"
        # What is shown changes by the second.
        response.headers.setdefault("Cache-Control", "no-store")
        response.vary.add("HX-Request")
    return response
