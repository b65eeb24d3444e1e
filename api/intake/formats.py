"""The formats a table may be sent in, and how a request names them."""

from pathlib import PurePath

from werkzeug.http import parse_options_header

from shared.jobs import InputFormat

CSV_TYPES = ("text/csv", "application/csv")

TABLE_TYPES = {
    **dict.fromkeys(CSV_TYPES, InputFormat.CSV),
    "application/x-ndjson": InputFormat.NDJSON,
    "application/json": InputFormat.JSON,
    "application/vnd.apache.parquet": InputFormat.PARQUET,
    "application/vnd.apache.arrow.stream": InputFormat.ARROW,
}
"""By media type."""

SUFFIXES = {
    ".ndjson": InputFormat.NDJSON,
    ".jsonl": InputFormat.NDJSON,
    ".json": InputFormat.JSON,
    ".parquet": InputFormat.PARQUET,
    ".arrow": InputFormat.ARROW,
    ".arrows": InputFormat.ARROW,
}
"""By the ending of a file's name, for forms that don't know what they send."""

UNKNOWN_TYPES = ("", "application/octet-stream")


def format_of_file(content_type: str, filename: str) -> InputFormat:
    """The format of a file in a form; CSV unless the form says otherwise.

    Browsers and curl tell a type by the name of a file, and have odd ones for CSV.
    """
    media_type, _ = parse_options_header(content_type)
    media_type = media_type.lower()
    if media_type in UNKNOWN_TYPES:
        return SUFFIXES.get(PurePath(filename).suffix.lower(), InputFormat.CSV)
    return TABLE_TYPES.get(media_type, InputFormat.CSV)
