"""The intake of each format."""

from collections.abc import Sequence

from api.intake.bodies import Body
from api.intake.csv_intake import CsvIntake, Limits
from api.intake.json_intake import JsonIntake, JsonLinesIntake
from shared.jobs import InputFormat
from shared.settings import Settings


def make_intake(
    body: Body,
    *,
    delimiter: str,
    features: Sequence[str],
    settings: Settings,
    announced_bytes: int,
) -> CsvIntake:
    """An intake that has read nothing yet."""
    limits = Limits(
        chunk_bytes=settings.max_chunk_bytes,
        record_bytes=settings.max_record_bytes,
        rows=settings.max_rows,
        body_bytes=settings.max_body_bytes,
    )
    if body.format is InputFormat.CSV:
        return CsvIntake(body, delimiter=delimiter, limits=limits, announced_bytes=announced_bytes)
    if body.format is InputFormat.NDJSON:
        return JsonLinesIntake(body, limits=limits, announced_bytes=announced_bytes)
    if body.format is InputFormat.JSON:
        return JsonIntake(
            body, limits=limits, features=features, max_json_bytes=settings.max_json_bytes
        )
    # Only now: who is never sent columns need not have pyarrow in memory.
    from api.intake.columnar_intake import ColumnarIntake

    return ColumnarIntake(body, limits=limits, features=features, announced_bytes=announced_bytes)
