"""Answers as they are sent."""

from http import HTTPStatus
from typing import Any

from flask import Response
from werkzeug.datastructures import Headers

_COMPLETE = frozenset({HTTPStatus.OK, HTTPStatus.ACCEPTED})


class Answer(Response):
    """A response whose URLs in headers are ASCII already.

    One that says how long it is has all its headers, so nothing is looked for that could be
    corrected.
    """

    # Any: what a WSGI environment holds.
    def get_wsgi_headers(self, environ: dict[str, Any]) -> Headers:
        if self.status_code in _COMPLETE and "Content-Length" in self.headers:
            return self.headers
        return super().get_wsgi_headers(environ)
