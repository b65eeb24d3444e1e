"""How pages write numbers and times; most of it as Jinja filters."""

import math
import re
from datetime import UTC, datetime

from flask import Flask
from markupsafe import Markup, escape

from shared.signature import Dtype

BYTE_UNITS = ("bytes", "kB", "MB", "GB", "TB")

_CODE = re.compile(r"`([^`]+)`")

READABLE_CHARS = 9
"""Longest number that is shown with all its digits."""

DURATIONS = (
    (86_400, ("d", "h"), 3_600),
    (3_600, ("h", "min"), 60),
    (60, ("min", "s"), 1),
)
"""Seconds of a unit, its name and that of the next smaller one, and the seconds of that."""


def install(app: Flask) -> None:
    """Make those that need no argument filters in the templates of `app`."""
    for write in (count, number, share, size, moment, duration, cell, with_code, words):
        app.jinja_env.filters[write.__name__] = write


def count(value: int) -> str:
    """A whole number with its thousands apart: 1,234,567."""
    return f"{value:,}"


def number(value: float) -> str:
    """A number with as many digits as people read: 3.142, 12,345, 1.2e-07."""
    if not math.isfinite(value):
        return str(value)
    if value < 0:
        return f"−{number(-value)}"
    if value == round(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    if 1e-4 <= abs(value) < 1e9:
        decimals = max(0, 3 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{decimals}f}"
        return text.rstrip("0").rstrip(".") if decimals else text
    return f"{value:.4g}"


def cell(text: str, dtype: Dtype) -> str:
    """A cell of results as people read it: predicted numbers with their thousands apart, long ones
    by `number`. All else, such as the digits of a key, is as it is."""
    if dtype is not Dtype.FLOAT or not text:
        return text
    if len(text) > READABLE_CHARS:
        return number(float(text))
    return f"{float(text):,}".removesuffix(".0").replace("-", "−")


def signed(value: float, *, beside: float) -> str:
    """A number that is added to others, with as many decimals as the largest of them needs."""
    if not 1e-4 <= beside < 1e9:
        return f"{value:+.3e}".replace("-", "−")
    decimals = max(0, 3 - math.floor(math.log10(beside)))
    return f"{value:+,.{decimals}f}".replace("-", "−")


def share(value: float) -> str:
    """A ratio in per cent: 12.3 %."""
    return f"{value * 100:.1f} %"


def size(value: float) -> str:
    """A number of bytes: 1.5 MB."""
    for unit in BYTE_UNITS[:-1]:
        if value < 1000:
            return f"{value:.1f} {unit}".replace(".0 ", " ")
        value /= 1000
    return f"{value:.1f} {BYTE_UNITS[-1]}"


def moment(value: str | int | datetime) -> Markup:
    """A time as people read it, with the exact one beside it for machines.

    `value`: RFC 3339 text, milliseconds since 1970 or an aware time.
    """
    if isinstance(value, int):
        value = datetime.fromtimestamp(value / 1000, UTC)
    elif isinstance(value, str):
        value = datetime.fromisoformat(value)
    at = value.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), f"{at:%Y-%m-%d %H:%M} UTC"
    )


def duration(seconds: float) -> str:
    """A time span with as much of it as people want to know: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 1:
        return f"{seconds:.2g} s" if seconds >= 0.001 else "0 s"
    whole = round(seconds)
    for unit, (name, smaller), smaller_unit in DURATIONS:
        if whole >= unit:
            rest = whole % unit // smaller_unit
            return f"{whole // unit} {name}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def with_code(text: str) -> Markup:
    """A sentence as a page has it; what stands between backticks is code."""
    # Every second part stood between two backticks.
    parts = enumerate(_CODE.split(text))
    code = Markup("<code>{}</code>")
    return Markup().join(code.format(part) if place % 2 else escape(part) for place, part in parts)


def words(name: str) -> str:
    """A name of the code as words: `partially_succeeded` is "partially succeeded"."""
    return name.replace("_", " ")
