"""An answer has the headers that Flask would give it."""

import pytest
from flask import Response

from api.answers import Answer

HEADERS = {"Vary": "Accept", "Content-Location": "/jobs/job_1/results", "Location": "/jobs/job_1"}


@pytest.mark.parametrize("status", [200, 202, 204, 304, 308, 404])
@pytest.mark.parametrize("headers", [{}, HEADERS, {"ETag": '"1"', "Allow": "GET"}])
@pytest.mark.parametrize("body", [b"", b"a,b\n", [b"a,", b"b\n"], None])
def test_headers_are_those_of_a_response_of_flask(
    body: bytes | list[bytes] | None, headers: dict[str, str], status: int
) -> None:
    made = [cls(body, status, headers, mimetype="text/csv") for cls in (Answer, Response)]

    ours, flasks = (sorted(response.get_wsgi_headers({})) for response in made)

    assert ours == flasks


def test_a_stream_has_no_length() -> None:
    assert "Content-Length" not in Answer(iter([b"a"])).get_wsgi_headers({})
