"""Moments as both sides write them: milliseconds since 1970 in the store, RFC 3339 on the wire."""

from datetime import UTC, datetime


def rfc3339(milliseconds: int | None) -> str | None:
    """A moment in UTC; None for none."""
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
