"""The cookie by which a browser is known that has signed in.

No script can read it, and no browser sends it along with what another site makes it do.
"""

from flask import Request, Response

from shared.job_store.sessions import SESSION_SECONDS

PLAIN_NAME = "rowmill_session"

TLS_NAME = "__Host-rowmill_session"
"""Taken by browsers only from this very host and over TLS, so that no neighbour can put in its own
(RFC 6265bis §4.1.3)."""


def session_token(sent: Request) -> str | None:
    """The token that the browser has; None if it is none or has none."""
    return sent.cookies.get(_name(sent)) or None


def give(sent: Request, response: Response, token: str) -> None:
    """Have the browser that sent this keep the token of a session."""
    response.set_cookie(
        _name(sent),
        token,
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="Strict",
        secure=sent.is_secure,
    )


def take_back(sent: Request, response: Response) -> None:
    """Have the browser that sent this forget the token."""
    response.delete_cookie(_name(sent), httponly=True, samesite="Strict", secure=sent.is_secure)


def _name(sent: Request) -> str:
    return TLS_NAME if sent.is_secure else PLAIN_NAME
