"""The pages of a Parquet file, looked at before anything is decoded.

<https://parquet.apache.org/docs/file-format/>: metadata at the end say where the chunks of columns
are, each a row of pages with a head. The head says how long the page will be when it is inflated,
and how many values it has, and the decoder takes memory for that before it looks: a few bytes may
claim to become gigabytes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from api.intake.thrift import ThriftReader
from shared.errors import BodyTooLargeError

MAGIC = b"PAR1"
MAX_FOOTER_BYTES = 64 * 1024 * 1024
HEAD_BYTES = 4 * 1024
MAX_HEAD_BYTES = 1024 * 1024
"""A head has a few dozen bytes, or some more where it repeats the least and the largest text."""

FEW_PAGES, FEW_BYTES = 100_000, 1024
"""So many pages a file may have however small they are, and more if they have so many bytes on the
average. Looking at one takes as long as decoding a thousand rows."""

# FileMetaData, RowGroup, ColumnChunk, ColumnMetaData, PageHeader of parquet.thrift
_ROW_GROUPS = 4
_COLUMNS, _ROWS = 1, 3
_META_DATA = 3
_COMPRESSED, _DATA_OFFSET, _DICTIONARY_OFFSET = 7, 9, 11
_PAGE_SIZE, _PAGE_STORED, _DATA_HEAD, _DICTIONARY_HEAD, _DATA_HEAD_V2 = 2, 3, 5, 7, 8
_VALUES = 1


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    """A column of a group of rows: where its pages begin, and how many bytes they take."""

    first: int
    size: int


@dataclass(frozen=True, kw_only=True)
class _Page:
    """What the head of a page says."""

    head_bytes: int
    stored_bytes: int
    inflated_bytes: int
    values: int
    is_dictionary: bool


def check_pages(file: IO[bytes], *, limit_bytes: int) -> None:
    """Raise BodyTooLargeError if the pages of a group of rows would become larger than that, and
    ValueError or IndexError for what is no Parquet file. The file is read from anywhere."""
    left = max(FEW_PAGES, file.seek(0, 2) // FEW_BYTES)
    for rows, chunks in _row_groups(_footer(file)):
        inflated = 0
        for chunk in chunks:
            for page in _pages(file, chunk):
                inflated += page.inflated_bytes
                left -= 1
                if not left:
                    raise ValueError("pages without end")
                if inflated > limit_bytes:
                    raise BodyTooLargeError(limit_bytes)
                # A value of a dictionary takes a byte of it; a column has one for each row.
                if page.values > (page.inflated_bytes if page.is_dictionary else rows):
                    raise ValueError("a page has more values than there can be")


def _footer(file: IO[bytes]) -> bytes:
    size = file.seek(0, 2)
    if size < 12:
        raise ValueError("too short")
    file.seek(size - 8)
    length, magic = struct.unpack("<I4s", file.read(8))
    if magic != MAGIC or not 0 < length <= min(size - 8, MAX_FOOTER_BYTES):
        raise ValueError("no footer")
    file.seek(size - 8 - length)
    return file.read(length)


def _row_groups(footer: bytes) -> Iterator[tuple[int, list[_Chunk]]]:
    """Rows and chunks of each."""
    reader = ThriftReader(footer)
    for number, kind in reader.fields():
        if number == _ROW_GROUPS:
            for _ in reader.items():
                yield _row_group(reader)
        else:
            reader.skip(kind)


def _row_group(reader: ThriftReader) -> tuple[int, list[_Chunk]]:
    rows, chunks = 0, []
    for number, kind in reader.fields():
        if number == _COLUMNS:
            chunks = [_chunk(reader) for _ in reader.items()]
        elif number == _ROWS:
            rows = reader.number()
        else:
            reader.skip(kind)
    return rows, chunks


def _chunk(reader: ThriftReader) -> _Chunk:
    found: dict[int, int] = {}
    wanted = (_COMPRESSED, _DATA_OFFSET, _DICTIONARY_OFFSET)
    for number, kind in reader.fields():
        if number != _META_DATA:
            reader.skip(kind)
            continue
        for of_column, of_kind in reader.fields():
            if of_column in wanted:
                found[of_column] = reader.number()
            else:
                reader.skip(of_kind)
    # Some writers say 0 where there is none: no dictionary, or no data in an empty table.
    firsts = [at for at in (found[_DATA_OFFSET], found.get(_DICTIONARY_OFFSET, 0)) if at]
    return _Chunk(first=min(firsts, default=0), size=found[_COMPRESSED])


def _pages(file: IO[bytes], chunk: _Chunk) -> Iterator[_Page]:
    at, end = chunk.first, chunk.first + chunk.size
    if not 0 <= at <= end <= file.seek(0, 2):
        raise ValueError("a chunk lies outside of the file")
    while at < end:
        page = _page(file, at)
        at += page.head_bytes + page.stored_bytes
        if min(page.stored_bytes, page.inflated_bytes, page.values) < 0 or at > end:
            raise ValueError("a page is less than nothing, or lies outside of its chunk")
        yield page


def _page(file: IO[bytes], at: int) -> _Page:
    size = HEAD_BYTES
    while True:
        file.seek(at)
        data = file.read(size)
        try:
            return _parsed(data)
        except IndexError:
            if len(data) < size or size >= MAX_HEAD_BYTES:
                raise
            size = MAX_HEAD_BYTES


def _parsed(data: bytes) -> _Page:
    reader = ThriftReader(data)
    sizes = {_PAGE_SIZE: 0, _PAGE_STORED: 0}
    values, is_dictionary = 0, False
    for number, kind in reader.fields():
        if number in sizes:
            sizes[number] = reader.number()
        elif number in (_DATA_HEAD, _DICTIONARY_HEAD, _DATA_HEAD_V2):
            is_dictionary = number == _DICTIONARY_HEAD
            values = _values(reader)
        else:
            reader.skip(kind)
    return _Page(
        head_bytes=reader.at,
        stored_bytes=sizes[_PAGE_STORED],
        inflated_bytes=sizes[_PAGE_SIZE],
        values=values,
        is_dictionary=is_dictionary,
    )


def _values(reader: ThriftReader) -> int:
    values = 0
    for number, kind in reader.fields():
        if number == _VALUES:
            values = reader.number()
        else:
            reader.skip(kind)
    return values
