"""An input on its way to the server: read once, in blocks, never whole in memory."""

import io
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from rowmill.errors import SourceError
from rowmill.formats import CSV_TYPE, format_of

BLOCK_BYTES = 256 * 1024
"""What is read and sent at once: large enough for full speed, small enough to stay flat."""


@runtime_checkable
class BinaryFile(Protocol):
    """Anything that gives its bytes piece by piece."""

    def read(self, size: int = -1, /) -> bytes: ...


@runtime_checkable
class SeekableFile(BinaryFile, Protocol):
    """A file that can tell how much of it is left."""

    def tell(self) -> int: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...


Source = str | os.PathLike[str] | BinaryFile | bytes | Iterable[bytes]
"""A path, a file opened in binary mode, the bytes themselves, or an iterable of blocks."""

OnSent = Callable[[int], None]
"""Called with the bytes sent so far."""


class Upload:
    """A body of unknown length; it goes out in HTTP chunks."""

    def __init__(
        self,
        blocks: Iterable[bytes],
        name: str,
        *,
        media_type: str = CSV_TYPE,
        is_gzip: bool = False,
    ) -> None:
        self.blocks = blocks
        self.name = name
        self.on_sent: OnSent | None = None
        self.headers = {"Content-Type": media_type}
        if is_gzip:
            self.headers["Content-Encoding"] = "gzip"

    def __iter__(self) -> Iterator[bytes]:
        sent_bytes = 0
        for block in self._readable():
            yield block
            sent_bytes += len(block)
            if self.on_sent is not None:
                self.on_sent(sent_bytes)

    def _readable(self) -> Iterator[bytes]:
        # urllib3 takes an OSError out of the body for trouble with the connection.
        try:
            yield from self.blocks
        except OSError as error:
            raise SourceError(self.name, error.strerror or str(error)) from error


class SizedUpload(Upload):
    """A body of known length; it goes out with `Content-Length`."""

    length_bytes = 0

    def __len__(self) -> int:
        return self.length_bytes

    def _readable(self) -> Iterator[bytes]:
        missing_bytes = self.length_bytes
        for block in super()._readable():
            yield block[:missing_bytes]
            missing_bytes -= len(block[:missing_bytes])
            if not missing_bytes:
                return
        if missing_bytes:
            raise SourceError(self.name, "it became shorter while it was being sent")


@contextmanager
def opened(source: Source) -> Generator[Upload]:
    """The source as an upload; a file that was opened here is closed here."""
    if isinstance(source, (str, os.PathLike)):
        with _open(Path(source)) as file:
            yield _upload_of_path(Path(source), file)
    elif isinstance(source, bytes):
        yield _upload_of_file(io.BytesIO(source), "the input")
    elif isinstance(source, io.TextIOBase):
        raise SourceError("a text file", "open it in binary mode, with 'rb'")
    elif isinstance(source, BinaryFile):
        yield _upload_of_file(source, str(getattr(source, "name", "the input")))
    else:
        yield Upload(source, "the input")


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise SourceError(str(path), error.strerror or str(error)) from error


def _upload_of_path(path: Path, file: BinaryIO) -> Upload:
    return _upload_of_file(
        file,
        str(path),
        media_type=format_of(path).media_type,
        is_gzip=path.suffix.lower() == ".gz",
    )


def _upload_of_file(
    file: BinaryFile, name: str, *, media_type: str = CSV_TYPE, is_gzip: bool = False
) -> Upload:
    length_bytes = _rest_bytes(file)
    # An empty file may be a device or a pipe in disguise, whose length shows only at its end.
    kind = SizedUpload if length_bytes else Upload
    upload = kind(_blocks(file), name, media_type=media_type, is_gzip=is_gzip)
    if isinstance(upload, SizedUpload):
        upload.length_bytes = length_bytes
    return upload


def _rest_bytes(file: BinaryFile) -> int:
    """Bytes from the file's position to its end; 0 if it can't tell, as a pipe can't."""
    if not isinstance(file, SeekableFile):
        return 0
    try:
        start = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(start)
    except (OSError, ValueError):
        return 0
    return max(end - start, 0)


def _blocks(file: BinaryFile) -> Iterator[bytes]:
    # `read1` gives what a slow pipe has now; `read` would wait for a full block.
    read = getattr(file, "read1", file.read)
    while block := read(BLOCK_BYTES):
        yield block
