"""Logging for every process: one JSON object a line, constant text with fields beside it.

Lines that are written while something is done for a request, a job or a chunk say so by themselves:
whoever begins it names the fields once, and they stand in all lines of the thread until it is over.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_NO_FIELDS: Mapping[str, object] = MappingProxyType({})
_fields: ContextVar[Mapping[str, object]] = ContextVar("log_fields", default=_NO_FIELDS)


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON; what was passed as `extra` becomes fields, before which
    those of the context stand."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. Values that are not JSON are written as their `str()`."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line = {**_fields.get(), **line}
        line |= {k: v for k, v in vars(record).items() if k not in _STANDARD_FIELDS}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str) -> None:
    """Send all records of this process, and Python's warnings, to standard error as JSON lines;
    call once per process."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)


def set_fields(fields: Mapping[str, object]) -> None:
    """Let lines of this context have these fields, and no others, from now on."""
    _fields.set(fields)


def fields() -> Mapping[str, object]:
    """The fields of this context."""
    return _fields.get()


@contextmanager
def more_fields(**more: object) -> Iterator[None]:
    """Within it, lines have these fields, too."""
    token = _fields.set({**_fields.get(), **more})
    try:
        yield
    finally:
        _fields.reset(token)
