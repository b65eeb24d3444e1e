"""Tables in JSON, in every form that is taken, as blocks of lines with an object for each row.

    [{"a": 1, "b": 2}, …]                            records
    {"a": 1, "b": 2}                                 one record
    {"dataframe_records": [{"a": 1, "b": 2}, …]}     records
    {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], …]}}
    {"instances": …}, {"inputs": …}                  records; or as below

What the last two hold may also be lists, [[1, 2], …], with their values in the order of the
features; or columns, {"a": [1, …], "b": [2, …]}. A record is passed on as the text that it is. The
names of the last four are MLflow's.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from shared import json_records
from shared.errors import JsonError

SPLIT, RECORDS = "dataframe_split", "dataframe_records"
WRAPPERS = (SPLIT, RECORDS, "instances", "inputs")

EXPECTED = f"a list of records, one record, or an object with one of {', '.join(WRAPPERS)}"

BLOCK_CHARS = 256 * 1024
"""Of rows that are put together: many at a time, and little beside the text itself."""

_SPACE = re.compile(r"[ \t\n\r]*")
_LINE_ENDS = str.maketrans("\n\r", "  ")
"""In JSON a line end is only ever white space."""


def blocks(text: str, features: Sequence[str]) -> Iterator[bytes]:
    """The rows of the table in `text`. Raises JsonError, at once or on the way."""
    try:
        yield from _joined(_rows(_Cursor(text), features))
    except json.JSONDecodeError as error:
        where = f"at line {error.lineno}, column {error.colno}"
        raise JsonError(f"The body is not JSON: {error.msg.lower()} {where}.", EXPECTED) from error
    except RecursionError as error:
        raise JsonError("The JSON is nested too deeply.", EXPECTED) from error


class _Cursor:
    """A place in a JSON text, moved on by whoever reads there. Raises json.JSONDecodeError."""

    def __init__(self, text: str, at: int = 0) -> None:
        self._text = text
        self.at = at

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        match = _SPACE.match(self._text, self.at)
        self.at = match.end() if match else self.at
        return self._text[self.at : self.at + 1]

    def error(self, expected: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(f"expecting {expected}", self._text, self.at)

    def at_end(self) -> None:
        """Raise unless nothing follows."""
        if self.peek():
            raise self.error("nothing more")

    def beginning(self, at: int) -> "_Cursor":
        """Another one, at a place that this one has been at."""
        return _Cursor(self._text, at)

    def value(self) -> object:
        """The value here, numbers as text."""
        self.peek()
        found, self.at = json_records.DECODER.raw_decode(self._text, self.at)
        return found

    def raw(self) -> str:
        """The text of the value here, in one line."""
        self.peek()
        first = self.at
        self.value()
        return self._text[first : self.at].translate(_LINE_ENDS)

    def skip(self) -> None:
        """Pass a value, however large: of a list only one element is made at a time, and so it is
        of the lists in an object."""
        opening = self.peek()
        if opening == "[":
            for _ in self.elements():
                self.value()
        elif opening == "{":
            for _ in self.members():
                self.skip()
        else:
            self.value()

    def elements(self) -> Iterator[None]:
        """Stops before each element of the list here, which has then to be read."""
        yield from self._parts("]")

    def members(self) -> Iterator[str]:
        """The keys of the object here; after each its value has to be read."""
        for _ in self._parts("}"):
            if self.peek() != '"':
                raise self.error("a key in quotes")
            key = self.value()
            self._pass(":")
            self.peek()
            yield str(key)

    def _parts(self, closing: str) -> Iterator[None]:
        self.at += 1
        if self.peek() != closing:
            yield
            while self.peek() == ",":
                self.at += 1
                self.peek()
                yield
        self._pass(closing)

    def _pass(self, char: str) -> None:
        if self.peek() != char:
            raise self.error(f"'{char}'")
        self.at += 1


def _rows(cursor: _Cursor, features: Sequence[str]) -> Iterator[str]:
    """Each row of the table as a line of JSON."""
    opening = cursor.peek()
    if opening == "[":
        yield from _records(cursor)
        cursor.at_end()
    elif opening == "{":
        first, members = cursor.at, _places(cursor)
        cursor.at_end()
        wrappers = [n for n, at in members.items() if n in WRAPPERS and _is_table(cursor, at)]
        if not wrappers:
            yield cursor.beginning(first).raw()
        elif len(members) > 1:
            others = ", ".join(name for name in members if name != wrappers[0])[:80]
            raise JsonError(f"Beside '{wrappers[0]}' there is {others}.", EXPECTED)
        else:
            yield from _wrapped(wrappers[0], cursor.beginning(members[wrappers[0]]), features)
    elif opening:
        raise JsonError("The JSON is neither a list nor an object.", EXPECTED)


def _is_table(cursor: _Cursor, at: int) -> bool:
    return cursor.beginning(at).peek() in ("[", "{")


def _places(cursor: _Cursor) -> dict[str, int]:
    """Where the value of each member of an object begins; of one that comes twice, the last."""
    places = {}
    for name in cursor.members():
        places[name] = cursor.at
        cursor.skip()
    return places


def _wrapped(name: str, cursor: _Cursor, features: Sequence[str]) -> Iterator[str]:
    is_list = cursor.peek() == "["
    if name == SPLIT:
        yield from _split(cursor)
    elif is_list:
        yield from _records(cursor, () if name == RECORDS else features)
    elif name == RECORDS:
        raise JsonError(f"'{RECORDS}' is no list.", EXPECTED)
    else:
        yield from _columns(name, cursor.value())


def _records(cursor: _Cursor, columns: Sequence[str] = ()) -> Iterator[str]:
    """The elements of a list. Lists among them are rows of these columns, if there are any."""
    for _ in cursor.elements():
        if columns and cursor.peek() == "[":
            first = cursor.at
            values = cursor.value()
            if isinstance(values, list) and len(values) == len(columns):
                yield json.dumps(dict(zip(columns, values, strict=True)))
                continue
            # It becomes a row error, as what it was.
            cursor.at = first
        yield cursor.raw()


def _split(cursor: _Cursor) -> Iterator[str]:
    places = _places(cursor) if cursor.peek() == "{" else {}
    if not {"columns", "data"} <= places.keys() <= {"columns", "data", "index"}:
        raise JsonError(f"'{SPLIT}' is no object of columns, data and, maybe, index.", EXPECTED)
    columns = cursor.beginning(places["columns"]).value()
    data = cursor.beginning(places["data"])
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise JsonError(f"In '{SPLIT}' columns is no list of texts.", EXPECTED)
    if len(set(columns)) < len(columns):
        raise JsonError(f"In '{SPLIT}' a column is named twice.", EXPECTED)
    if data.peek() != "[":
        raise JsonError(f"In '{SPLIT}' data is no list of rows.", EXPECTED)
    yield from _records(data, columns)


def _columns(name: str, found: object) -> Iterator[str]:
    columns = found if type(found) is dict else {}
    values = list(columns.values())
    if not values or not all(isinstance(column, list) for column in values):
        raise JsonError(f"'{name}' is neither a list of rows nor an object of columns.", EXPECTED)
    if len({len(column) for column in values}) > 1:
        raise JsonError(f"The columns of '{name}' are not equally long.", EXPECTED)
    names = list(columns)
    for row in zip(*values, strict=True):
        yield json.dumps(dict(zip(names, row, strict=True)))


def _joined(rows: Iterable[str]) -> Iterator[bytes]:
    lines: list[str] = []
    chars = 0
    for row in rows:
        lines.append(row)
        chars += len(row)
        if chars >= BLOCK_CHARS:
            yield _block(lines)
            lines, chars = [], 0
    if lines:
        yield _block(lines)


def _block(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()
