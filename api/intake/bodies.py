"""The request body: a table as blocks of bytes, whatever it was wrapped in and never all at once;
or an order as a short JSON text."""

import hashlib
import zlib
from collections.abc import Iterator
from typing import IO

from gunicorn.http.errors import ParseException
from werkzeug.datastructures import Headers
from werkzeug.exceptions import ClientDisconnected
from werkzeug.http import parse_options_header

from api.intake.formats import CSV_TYPES, TABLE_TYPES, format_of_file
from api.intake.forms import MULTIPART_TYPE, file_part
from shared.errors import (
    BodyTooLargeError,
    GzipError,
    UnsupportedMediaTypeError,
    UploadIncompleteError,
)
from shared.jobs import InputFormat

BLOCK_BYTES = 1024 * 1024
"""Read from the socket at a time: as much as Gunicorn receives in one call, since it copies what is
left of it for the next read."""

JSON_TYPE = "application/json"

MAX_ORDER_BYTES = 64 * 1024
"""Longest JSON text; the orders there are have less than a hundred bytes."""

_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class Body:
    """A table while it arrives: blocks of bytes, unpacked. Each is taken once, in order."""

    def __init__(self, blocks: Iterator[bytes], input_format: InputFormat) -> None:
        self.format = input_format
        self.input_bytes = 0
        """How much was read so far, which is what `sha256` speaks of."""
        self._blocks = blocks
        self._hash = hashlib.sha256()

    def __iter__(self) -> "Body":
        return self

    def __next__(self) -> bytes:
        block = next(self._blocks)
        self._hash.update(block)
        self.input_bytes += len(block)
        return block

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def drain(self) -> None:
        """Read on to the end for the checksum alone. Raises whatever the blocks raise."""
        for _ in self:
            pass


def table_body(stream: IO[bytes], headers: Headers, *, limit_bytes: int) -> Body:
    """The table in `stream`, unwrapped by what the headers say of it.

    Unsupported types are refused before anything is read; of a form, what stands before its table
    is read at once. While iterating: BodyTooLargeError beyond `limit_bytes`, UploadIncompleteError,
    GzipError, MultipartError.
    """
    media_type, options = parse_options_header(headers.get("Content-Type", ""))
    media_type = media_type.lower()
    if media_type not in TABLE_TYPES and media_type != MULTIPART_TYPE:
        supported = [name for name in TABLE_TYPES if name not in CSV_TYPES[1:]]
        raise UnsupportedMediaTypeError("Content-Type", media_type, [*supported, MULTIPART_TYPE])
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise UnsupportedMediaTypeError("Content-Encoding", encoding, ["gzip", "no encoding"])
    length = headers.get("Content-Length", type=int)
    if length is not None and length > limit_bytes:
        raise BodyTooLargeError(limit_bytes)

    blocks = _received(stream, length)
    if encoding == "gzip":
        blocks = _decompressed(blocks)
    blocks = limited(blocks, limit_bytes)
    if media_type == MULTIPART_TYPE:
        file, content = file_part(blocks, options.get("boundary", ""))
        return Body(content, format_of_file(file.headers.get("Content-Type", ""), file.filename))
    return Body(blocks, TABLE_TYPES[media_type])


def json_text(stream: IO[bytes], headers: Headers) -> bytes:
    """The JSON in `stream`, not parsed yet.

    Raises UnsupportedMediaTypeError, BodyTooLargeError, UploadIncompleteError.
    """
    media_type, _ = parse_options_header(headers.get("Content-Type", ""))
    if media_type.lower() != JSON_TYPE:
        raise UnsupportedMediaTypeError("Content-Type", media_type, [JSON_TYPE])
    length = headers.get("Content-Length", type=int)
    return b"".join(limited(_received(stream, length), MAX_ORDER_BYTES))


def _received(stream: IO[bytes], length: int | None) -> Iterator[bytes]:
    """What arrives; raises UploadIncompleteError if it is less than the client announced."""
    received = 0
    # The server gives no more than was announced, so there is nothing to ask for behind it.
    while received != length:
        try:
            block = stream.read(BLOCK_BYTES)
        except (OSError, ParseException, ClientDisconnected) as error:
            raise UploadIncompleteError from error
        if not block:
            break
        received += len(block)
        yield block
    if length is not None and received < length:
        raise UploadIncompleteError


def limited(blocks: Iterator[bytes], limit_bytes: int) -> Iterator[bytes]:
    """The same blocks; raises BodyTooLargeError where they become more than that."""
    taken = 0
    for block in blocks:
        taken += len(block)
        if taken > limit_bytes:
            raise BodyTooLargeError(limit_bytes)
        yield block


def _decompressed(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Gunzips in bounded pieces, so a small bomb stays small until the limit stops it.

    Several members one after the other are one stream (RFC 1952 §2.2).
    """
    member = zlib.decompressobj(_GZIP_WINDOW)
    is_between_members = True
    for block in blocks:
        pending = block
        while pending:
            if member.eof:
                member, is_between_members = zlib.decompressobj(_GZIP_WINDOW), True
            try:
                piece = member.decompress(pending, BLOCK_BYTES)
            except zlib.error as error:
                raise GzipError("its data, checksum or length is wrong") from error
            is_between_members = False
            if piece:
                yield piece
            pending = member.unused_data if member.eof else member.unconsumed_tail
    if not member.eof and not is_between_members:
        raise GzipError("it ends before its end")
