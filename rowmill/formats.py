"""Formats of tables: their names here, on the wire, and at the ends of file names."""

from pathlib import PurePath
from typing import Literal

Format = Literal["csv", "ndjson", "json", "parquet", "arrow"]

MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv",
    "ndjson": "application/x-ndjson",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
}
"""What a file's name promises; `.gz` may come behind it."""


def format_of(name: str) -> Format | None:
    """The format that a file's name promises; `None` if it promises none."""
    return SUFFIXES.get(PurePath(plain(name)).suffix.lower())


def plain(name: str) -> str:
    """The name without the `.gz` of a compressed file."""
    return name[: -len(".gz")] if is_compressed(name) else name


def is_compressed(name: str) -> bool:
    """Whether the name says that the file is compressed with gzip."""
    return name.lower().endswith(".gz")
