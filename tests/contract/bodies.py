"""Request bodies that several tests send: gzip, forms, wide rows, pieces without a length."""

import gzip
from collections.abc import Iterator

MEBIBYTE = 1024**2
WIDE_ROW = b"6," + b"a" * 1021 + b"\n"
"""A row of 1 KiB for model `line` under the header `x,t`."""

LONG = b"x,t\n" + WIDE_ROW * 6000
"""A table of more than one chunk: when all of it has been sent, its job exists."""

GZIP = {"Content-Encoding": "gzip"}
PACKED = gzip.compress(b"x\n6\n7\n")

FORM = {"Content-Type": "multipart/form-data; boundary=B"}
FILE = 'name="file"; filename="data.csv"'


def form(*parts: tuple[str, bytes], end: bytes = b"--B--\r\n") -> bytes:
    """A multipart body of (name and filename, content) pairs."""
    heads = (f"--B\r\nContent-Disposition: form-data; {name}\r\n\r\n".encode() for name, _ in parts)
    return (
        b"".join(head + text + b"\r\n" for head, (_, text) in zip(heads, parts, strict=True)) + end
    )


def in_pieces(*pieces: bytes) -> Iterator[bytes]:
    """A body that is sent without a Content-Length."""
    yield from pieces
