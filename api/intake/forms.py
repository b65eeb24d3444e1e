"""A form with one file in it, read while it arrives."""

from collections.abc import Iterator
from dataclasses import dataclass

from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import (
    Data,
    Epilogue,
    Field,
    File,
    MultipartDecoder,
    NeedData,
    State,
)

from shared.errors import MultipartError, UploadIncompleteError, quoted

MULTIPART_TYPE = "multipart/form-data"

MAX_HEAD_BYTES = 4 * 1024 * 1024
"""What the decoder may hold back: a block that has just arrived, beside the head of a part."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What the form says of its file."""

    headers: Headers
    filename: str


def file_part(blocks: Iterator[bytes], boundary: str) -> tuple[Part, Iterator[bytes]]:
    """The head of the one part named `file`, and its content while it arrives: there is no
    temporary file. Raises MultipartError, UploadIncompleteError, and so does the iterator.
    """
    if not boundary:
        raise MultipartError("The Content-Type names no boundary.")
    decoder = MultipartDecoder(boundary.encode(), max_form_memory_size=MAX_HEAD_BYTES)
    events = _events(decoder, blocks)
    for event in events:
        if isinstance(event, File | Field):
            return _known(event), _content(events)
    raise MultipartError("There is no part with a file.")


def _content(events: Iterator[object]) -> Iterator[bytes]:
    for event in events:
        if isinstance(event, File | Field):
            _known(event)
            raise MultipartError("There is more than one file.")
        if isinstance(event, Data) and event.data:
            yield bytes(event.data)


def _known(event: File | Field) -> Part:
    if event.name != "file":
        raise MultipartError(f"Form part {quoted(event.name or '')} is not known.")
    filename = event.filename if isinstance(event, File) else ""
    return Part(headers=event.headers, filename=filename or "")


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
