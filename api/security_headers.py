"""Headers by which browsers keep what is answered here from other sites and from guesses of their
own. Every answer has them.

Source: OWASP, https://cheatsheetseries.owasp.org/cheatsheets/HTTP_Headers_Cheat_Sheet.html
"""

from flask import Flask, Response, request

from api.pages.frame import is_page

OF_ALL = {
    # Of results, too: what a client sent is in them, and is no page.
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Ids of jobs are in paths. Not `no-referrer`: forms would then be sent without an origin.
    "Referrer-Policy": "same-origin",
}

OF_DOCUMENTS = OF_ALL | {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
"""Of all that is no page: a browser that shows it loads nothing for it."""

OF_PAGES = OF_ALL | {
    # Nothing from another host, nothing inline, nothing evaluated, no other site's frame around it.
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "object-src 'none'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

STRICT_TRANSPORT = f"max-age={365 * 24 * 3600}"
"""For a year browsers come by TLS only. Of this host alone: those below it may be others'."""


def install(app: Flask) -> None:
    """Give them to every answer of `app`."""
    app.after_request(_add_headers)


def _add_headers(response: Response) -> Response:
    headers = response.headers
    if "Cache-Control" not in headers:
        # One caller's jobs are nobody else's. What has a tag may be kept and asked after.
        kept = "private, no-cache" if "ETag" in headers else "no-store"
        headers.add("Cache-Control", kept)
    if request.is_secure:
        headers.add("Strict-Transport-Security", STRICT_TRANSPORT)
    # Last: a search looks at all that there are.
    headers.extend(OF_PAGES if is_page(request.path) else OF_DOCUMENTS)
    return response
