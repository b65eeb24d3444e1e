"""What a foreign error says, in words that may be shown to callers."""

import re

_PATH = re.compile(r"(?<![\w.])/[\w.@+-]+(?:/[\w.@+-]*)+")


def first_line(error: Exception) -> str:
    """What an error says, in one line for callers: its type first, the server's paths left out."""
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {_PATH.sub('…', lines[0])[:200]}"
