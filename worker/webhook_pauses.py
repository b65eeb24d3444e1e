"""How long to wait before a callback is called again."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from worker.receiver import Answer

JITTER = 0.1
"""So that what failed at the same time is not tried again at the same time."""

MOST_RETRY_AFTER_SECONDS = 24 * 3600
"""Longest that a receiver may put the next attempt off."""


def pause_after(answer: Answer | None, pause_seconds: float, *, now: datetime) -> float:
    """Seconds until the next attempt: the pause, give or take a little, or as long as the receiver
    asks for if that is longer."""
    pause_seconds *= random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 – nobody gains by guessing
    asked = _retry_after_seconds(answer.retry_after, now=now) if answer else 0.0
    return max(pause_seconds, min(asked, MOST_RETRY_AFTER_SECONDS))


def _retry_after_seconds(text: str | None, *, now: datetime) -> float:
    """Seconds of a Retry-After (RFC 9110 §10.2.3): a number, or a date. 0 for anything else."""
    if not text:
        return 0.0
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    return (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
