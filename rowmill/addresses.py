"""The address of a server, and how it may be shown."""

import re
from urllib.parse import urlsplit

from rowmill.errors import InvalidUrlError


def checked_url(url: str) -> str:
    """The URL without slashes at its end. Raises `InvalidUrlError`."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or parts.query or parts.fragment:
        raise InvalidUrlError(without_credentials(url))
    return url.rstrip("/")


def without_credentials(url: str) -> str:
    """The URL as messages show it: a name and a password in it are left out."""
    return re.sub(r"//[^/]*@", "//", url)
