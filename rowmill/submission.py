"""A submission: what is sent to make a job, by which options, and under which key."""

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeGuard

from rowmill.formats import MEDIA_TYPES, Format, format_of, is_compressed
from rowmill.uploads import Body, OnSent, Source, opened

if TYPE_CHECKING:
    from rowmill.frames import DataFrame


class JobOptions(TypedDict, total=False):
    """Options of `POST /jobs`, by their names there; one that is absent or `None` isn't sent."""

    output: str | None
    join: Literal["none", "input"] | None
    key: str | None
    delimiter: str | None
    error_threshold: int | None
    deadline: int | None
    expires_in: int | None
    strict: bool | None
    validate_only: bool | None
    callback_url: str | None


class SubmitOptions(JobOptions, total=False):
    """The same with a model reference."""

    model: str | None


@contextmanager
def body_of(
    source: "Source | DataFrame", on_sent: OnSent | None, *, key: str | None = None
) -> Iterator[Body]:
    """What is sent of a source. Raises `SourceError` if it can't be read, or has its key aside."""
    if is_frame(source):
        from rowmill.frames import FrameUpload, check_key

        check_key(source, key)
        yield FrameUpload(source, on_sent)
    else:
        with opened(source, on_sent) as upload:  # type: ignore[arg-type]
            yield upload


def headers_of(source: "Source | DataFrame", format: Format | None) -> dict[str, str]:
    """What a source is: the format given, else what its name promises, else CSV.

    A path that ends in `.gz` is sent compressed as it is.
    """
    name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else ""
    guess = "arrow" if is_frame(source) else format_of(name) or "csv"
    headers = {"Content-Type": MEDIA_TYPES[format or guess]}
    if is_compressed(name):
        headers["Content-Encoding"] = "gzip"
    return headers


def is_frame(source: object) -> "TypeGuard[DataFrame]":
    """Whether it is a data frame; pandas is asked only where the caller has imported it."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(source, pandas.DataFrame)


def key_header(idempotency_key: str | None) -> dict[str, str]:
    """The header by which the server knows the request again; a new key if none is given."""
    return {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}


# `Any`: the values of a TypedDict.
def query_of(options: Any) -> dict[str, str]:
    """The options that are given; booleans as JSON spells them."""
    given = {name: value for name, value in options.items() if value is not None}
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in given.items()
    }
