"""A record as a line of JSON: an object with a value for each column.

Numbers stay the text they are, so that none of them is rounded on its way.
"""

import json
from typing import Any

NESTED = (dict, list)

_CONSTANTS = {"NaN": None, "Infinity": "inf", "-Infinity": "-inf"}
"""What Python's own writer makes of the floats for which JSON has no words; NaN is what it has for
a missing value."""


class RepeatedKey(dict[str, Any]):
    """An object in which a key stands twice, so that nobody knows which value is meant."""


def decode(line: bytes) -> object:
    """The value in a line: numbers as text, otherwise as `json` has it. Raises ValueError."""
    try:
        return DECODER.decode(line.decode())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def is_unicode(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, for which JSON has an escape."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else RepeatedKey(found)


DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=str, parse_int=str, parse_constant=_CONSTANTS.get
)
