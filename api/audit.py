"""The audit log: one line for each write, made or refused, with who asked for it. Never a token."""

import logging
import re

from flask import Flask, Response, request

from api.access import access_to
from api.callers import current_caller
from shared.jobs import JOB_ID_PATTERN

logger = logging.getLogger("rowmill.audit")

_JOB_ID = re.compile(JOB_ID_PATTERN)

LEADS_TO_JOB = ("Location", "Content-Location", "HX-Redirect")
"""Headers of an answer that name the job which a request has made."""


def log(action: str, **fields: object) -> None:
    """Write the line of one action."""
    logger.info("audit", extra={"action": action, **fields})


def install(app: Flask) -> None:
    """Write a line for each request to `app` that writes something, when it is answered.

    Only where callers have keys: elsewhere nobody could be named.
    """
    app.after_request(_log_write)


def _log_write(response: Response) -> Response:
    rule = request.url_rule
    action = access_to(request.method, rule.rule).action if rule else ""
    if action:
        caller = current_caller()
        log(
            action,
            key_id=caller.id,
            key_name=caller.name,
            remote=request.remote_addr,
            job_id=(request.view_args or {}).get("job_id"),
            made_job_id=_made(response),
            status=response.status_code,
        )
    return response


def _made(response: Response) -> str | None:
    """The job that the answer leads to."""
    for name in LEADS_TO_JOB:
        if match := _JOB_ID.search(response.headers.get(name, "")):
            return match[0]
    return None
