"""Requests that nobody meant to send here: a page of another site made a browser send them.

Programs such as curl name the host that they were given, and no site; only browsers are led.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Flask, request
from werkzeug.sansio.utils import host_is_trusted

from shared.errors import CrossSiteError, UnknownHostError

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

OWN_SITES = ("same-origin", "none")
"""`Sec-Fetch-Site` of a request that a page of ours made, or the user by hand."""


def install(app: Flask, *, allowed_hosts: Sequence[str]) -> None:
    """Refuse such requests to any route of `app`. Without names every host is allowed."""
    # Not Flask's TRUSTED_HOSTS: it can't name an IPv6 address, and refuses without a code.
    if allowed_hosts:
        app.before_request(partial(_refuse_unknown_hosts, tuple(allowed_hosts)))
    app.before_request(_refuse_other_sites)


@lru_cache(maxsize=256)
def is_allowed(host: str, names: Sequence[str]) -> bool:
    """Whether requests may be for this `Host`: one of the names, or below one that begins with a
    dot.

    An attacker's name may be made to lead here (DNS rebinding), and the attacker's page then counts
    as one of ours. An IP address can't, and nobody can have a name without a dot, as hosts of a
    private network have; so health checks and neighbours need not be named.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
        is_own = bool(name) and ("." not in name or host_is_trusted(name, names))
        return is_own or bool(ip_address(name))
    except ValueError:
        return False


def _refuse_unknown_hosts(names: Sequence[str]) -> None:
    """Raises UnknownHostError."""
    # Empty where there is none or it is no host at all.
    if not is_allowed(request.host, names):
        raise UnknownHostError(request.host)


def _refuse_other_sites() -> None:
    """No other site may make a browser write here (cross-site request forgery).

    Browsers say where a request comes from; who says nothing is no browser. Raises CrossSiteError.
    """
    if request.method in SAFE_METHODS:
        return
    # Not `request.headers`, which would take ten times as long.
    site = request.environ.get("HTTP_SEC_FETCH_SITE")
    origin = request.environ.get("HTTP_ORIGIN")
    if site is not None:
        is_own = site in OWN_SITES
    else:
        host = request.host
        is_own = origin is None or origin in (f"http://{host}", f"https://{host}")
    if not is_own:
        raise CrossSiteError
