"""URLs of Redis servers, which may hold a password that nobody should read in a log."""

import re
from urllib.parse import quote, urlsplit, urlunsplit

HIDDEN = "***"

_PLACES = re.compile(r"(?<=://)([^:@/?#]*:)[^/?#]*(?=@)|([?&]\w*password=)[^&#]*")
"""Where passwords stand: behind the user, or among the options, as redis-py takes them, too."""


class RedisUrl(str):
    """A URL that hides its password wherever it is printed, formatted or shown in a structure.

    Handed to a client it is the whole URL, as every other string is.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return _PLACES.sub(rf"\1\2{HIDDEN}", self)

    def __repr__(self) -> str:
        return repr(str(self))

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def with_password(self, password: str) -> "RedisUrl":
        """The URL with this password, unless it has one."""
        parts = urlsplit(self)
        if not password or parts.password is not None:
            return self
        user, _, host = parts.netloc.rpartition("@")
        return RedisUrl(
            urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))
        )
