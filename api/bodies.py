"""The request body: a table as blocks of CSV bytes, whatever it was wrapped in and never all at
once; or an order as a short JSON text."""

import zlib
from collections.abc import Iterator
from typing import IO

from gunicorn.http.errors import ParseException
from werkzeug.datastructures import Headers
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import (
    Data,
    Epilogue,
    Field,
    File,
    MultipartDecoder,
    NeedData,
    State,
)

from shared.errors import (
    BodyTooLargeError,
    GzipError,
    MultipartError,
    UnsupportedMediaTypeError,
    UploadIncompleteError,
    quoted,
)

BLOCK_BYTES = 1024 * 1024
"""Read from the socket at a time: as much as Gunicorn receives in one call, since it copies what is
left of it for the next read."""

CSV_TYPES = ("text/csv", "application/csv")
MULTIPART_TYPE = "multipart/form-data"
JSON_TYPE = "application/json"

MAX_ORDER_BYTES = 64 * 1024
"""Longest JSON text; the orders there are have less than a hundred bytes."""

_GZIP_WINDOW = 16 + zlib.MAX_WBITS


def csv_blocks(stream: IO[bytes], headers: Headers, *, limit_bytes: int) -> Iterator[bytes]:
    """The CSV text in `stream`, unwrapped by what the headers say of it.

    Unsupported types are refused before anything is read. While iterating: BodyTooLargeError
    beyond `limit_bytes` of CSV text, UploadIncompleteError, GzipError, MultipartError.
    """
    media_type, options = parse_options_header(headers.get("Content-Type", ""))
    media_type = media_type.lower()
    if media_type not in (*CSV_TYPES, MULTIPART_TYPE):
        raise UnsupportedMediaTypeError(
            "Content-Type", media_type, [*CSV_TYPES[:1], MULTIPART_TYPE]
        )
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise UnsupportedMediaTypeError("Content-Encoding", encoding, ["gzip", "no encoding"])
    length = headers.get("Content-Length", type=int)
    if length is not None and length > limit_bytes:
        raise BodyTooLargeError(limit_bytes)

    blocks = _received(stream, length)
    if encoding == "gzip":
        blocks = _decompressed(blocks)
    blocks = _limited(blocks, limit_bytes)
    if media_type == MULTIPART_TYPE:
        blocks = _file_part(blocks, options.get("boundary", ""))
    return blocks


def json_text(stream: IO[bytes], headers: Headers) -> bytes:
    """The JSON in `stream`, not parsed yet.

    Raises UnsupportedMediaTypeError, BodyTooLargeError, UploadIncompleteError.
    """
    media_type, _ = parse_options_header(headers.get("Content-Type", ""))
    if media_type.lower() != JSON_TYPE:
        raise UnsupportedMediaTypeError("Content-Type", media_type, [JSON_TYPE])
    length = headers.get("Content-Length", type=int)
    return b"".join(_limited(_received(stream, length), MAX_ORDER_BYTES))


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


def _limited(blocks: Iterator[bytes], limit_bytes: int) -> Iterator[bytes]:
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


def _file_part(blocks: Iterator[bytes], boundary: str) -> Iterator[bytes]:
    """The content of the one part named `file`, while it arrives and without a temporary file."""
    if not boundary:
        raise MultipartError("The Content-Type names no boundary.")
    decoder = MultipartDecoder(boundary.encode(), max_form_memory_size=4 * BLOCK_BYTES)
    files = 0
    for event in _events(decoder, blocks):
        if isinstance(event, File | Field):
            files += 1
            if event.name != "file":
                raise MultipartError(f"Form part {quoted(event.name or '')} is not known.")
            if files > 1:
                raise MultipartError("There is more than one file.")
        elif isinstance(event, Data) and event.data:
            yield bytes(event.data)
    if not files:
        raise MultipartError("There is no part with a file.")


def _events(decoder: MultipartDecoder, blocks: Iterator[bytes]) -> Iterator[object]:
    """What the decoder finds, fed block by block to the end behind the closing boundary."""
    while True:
        try:
            event = decoder.next_event()
        except (ValueError, RequestEntityTooLarge) as error:
            raise MultipartError("The form can't be read.") from error
        if isinstance(event, Epilogue):
            return
        if isinstance(event, NeedData):
            block = next(blocks, None)
            if block is None and decoder.state is State.PREAMBLE:
                raise MultipartError("The boundary of the Content-Type is not in the body.")
            if block is None and decoder.state is not State.EPILOGUE:
                raise UploadIncompleteError
            try:
                decoder.receive_data(block)
                # The decoder takes the CR before a boundary for data where a block ends behind it.
                while block and decoder.boundary in decoder.buffer[-len(decoder.boundary) - 1 :]:
                    block = next(blocks, b"")
                    decoder.receive_data(block)
            except RequestEntityTooLarge as error:
                raise MultipartError("A header of the form is too long.") from error
        else:
            yield event
