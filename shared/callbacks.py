"""The URL to which a job's end is told: what may be one, and which addresses may be called.

Callers choose the URL and Rowmill calls it from within its own network, where things answer that
nobody outside was meant to reach (server-side request forgery). So only public addresses are
called, and what a name means is looked at when it is called: `worker/receiver.py`.
"""

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from shared.errors import CallbackRefusedError, InvalidParameterError

MAX_URL_CHARS = 2048
"""Longest URL: more than any receiver needs, and less than a request line may have."""

EXPECTED = f"it is an http or https URL of up to {MAX_URL_CHARS} characters, without a fragment"

_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]+")
"""Those of RFC 3986 but `#`. A name in other letters is given in its ASCII form (RFC 3492)."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_PORTS = {"http": 80, "https": 443}

_RELAYS = IPv4Network("192.88.99.0/24")
"""Led into the IPv6 internet and stands for nobody (RFC 7526)."""

_UNICAST = IPv6Network("2000::/3")
"""All that has been given out of the IPv6 internet."""

_NAT64 = IPv6Network("64:ff9b::/96")
"""How a network without IPv4 spells an IPv4 address (RFC 6052)."""


@dataclass(frozen=True, kw_only=True)
class CallbackUrl:
    """A URL taken apart."""

    is_secure: bool
    host: str
    """A name or an address, without brackets."""
    port: int
    authority: str
    """Host and port as they are written."""
    target: str
    """Path and query."""


def parse_callback(url: str, *, allow_private: bool) -> CallbackUrl:
    """A URL that may be called, as far as can be told without looking up its name.

    `allow_private`: whether private addresses may be, and may be without TLS. Raises
    CallbackRefusedError, InvalidParameterError.
    """
    if len(url) > MAX_URL_CHARS or not _CHARACTERS.fullmatch(url):
        raise InvalidParameterError("callback_url", url, EXPECTED)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidParameterError("callback_url", url, EXPECTED) from error
    if "@" in parts.netloc:
        # The URL is shown with the job.
        raise CallbackRefusedError("it holds a user or a password, which others would see")
    if parts.scheme not in _PORTS or port == 0 or not _is_host(host, parts.netloc):
        raise InvalidParameterError("callback_url", url, EXPECTED)
    if not allow_private:
        _check_publicity(parts, host)
    return CallbackUrl(
        is_secure=parts.scheme == "https",
        host=host,
        port=port or _PORTS[parts.scheme],
        authority=parts.netloc,
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )


def _is_host(host: str, netloc: str) -> bool:
    if not netloc.startswith("["):
        return bool(_NAME.fullmatch(host))
    # Without a zone, which means something to one machine only.
    return ":" in host and "%" not in host and literal_address(host) is not None


def _check_publicity(parts: SplitResult, host: str) -> None:
    if parts.scheme != "https":
        raise CallbackRefusedError("it is not https")
    address = literal_address(host)
    is_local = host.rstrip(".").endswith("localhost")
    if is_local or (address is not None and not is_public(address)):
        raise CallbackRefusedError("its address is a private or reserved one")


def literal_address(host: str) -> str | None:
    """The address that a host spells out; None for a name.

    In all the ways that a resolver understands: `127.1` and `2130706433` are loopback, too.
    """
    try:
        return str(IPv6Address(host)) if ":" in host else socket.inet_ntoa(socket.inet_aton(host))
    except (ValueError, OSError):
        return None


def is_public(address: str) -> bool:
    """Whether an address is one of a single host in the public internet."""
    return _is_public(ip_address(address))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        is_single = not (address.is_multicast or address.is_reserved) and address not in _RELAYS
        return is_single and address.is_global
    # These lead to an IPv4 address, which is the one that counts.
    if inner := address.ipv4_mapped or address.sixtofour or _translated(address):
        return _is_public(inner)
    return address in _UNICAST and address.is_global and not address.is_multicast


def _translated(address: IPv6Address) -> IPv4Address | None:
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else None
