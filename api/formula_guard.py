"""CSV that a spreadsheet takes for data: no cell of it is a formula.

Source: OWASP, https://owasp.org/www-community/attacks/CSV_Injection
"""

import re
from collections.abc import Iterator

FORMULA_CHARS = "=+-@\t\r\n＝＋－＠"
"""What a cell begins with that a spreadsheet may run; in East Asian ones the wide forms do, too."""

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:inf|nan)"
_IS_NUMBER = re.compile(_NUMBER)
_CELL = re.compile(r'"[^"]*(?:""[^"]*)*"|[^,\r\n]+')
_SUSPECT = re.compile(
    rf'(?:\A|[,\r\n"])(?!(?:{_NUMBER})(?:[,\r\n]|"(?!")|\Z))[=+\-@\t＝＋－＠]|"[\r\n]'
)
"""Is in every text that has a formula, and in few others: most have none and are left alone."""


def guarded(texts: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines of CSV, an apostrophe before each cell that begins as a formula and is no number.

    All else stays, byte by byte.
    """
    for text in texts:
        lines = text.decode()
        yield _CELL.sub(_as_data, lines).encode() if _SUSPECT.search(lines) else text


def _as_data(cell: re.Match[str]) -> str:
    text = cell[0]
    quote = '"' if text[0] == '"' else ""
    content = text[1:-1] if quote else text
    if not content or content[0] not in FORMULA_CHARS or _IS_NUMBER.fullmatch(content):
        return text
    return f"{quote}'{text[len(quote) :]}"
