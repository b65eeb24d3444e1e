"""The formats that results and inputs may have, and their names in HTTP."""

from enum import StrEnum
from pathlib import PurePath

CSV_TYPE = "text/csv"


class ResultFormat(StrEnum):
    """How `results` are written; the value is the name on the command line."""

    CSV = "csv"
    NDJSON = "ndjson"
    JSON = "json"
    PARQUET = "parquet"
    ARROW = "arrow"

    @property
    def media_type(self) -> str:
        """What to put into `Accept`."""
        return MEDIA_TYPES[self]


MEDIA_TYPES = {
    ResultFormat.CSV: CSV_TYPE,
    ResultFormat.NDJSON: "application/x-ndjson",
    ResultFormat.JSON: "application/json",
    ResultFormat.PARQUET: "application/vnd.apache.parquet",
    ResultFormat.ARROW: "application/vnd.apache.arrow.stream",
}

FORMATS_BY_SUFFIX = {
    ".csv": ResultFormat.CSV,
    ".ndjson": ResultFormat.NDJSON,
    ".jsonl": ResultFormat.NDJSON,
    ".json": ResultFormat.JSON,
    ".parquet": ResultFormat.PARQUET,
    ".arrow": ResultFormat.ARROW,
}


def format_of(path: PurePath) -> ResultFormat:
    """The format a file's name promises, `.gz` set aside; CSV if it promises none."""
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return FORMATS_BY_SUFFIX.get(plain.suffix.lower(), ResultFormat.CSV)
