"""An input on its way to the server: read in blocks, never whole in memory."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from rowmill.errors import SourceError

BLOCK_BYTES = 256 * 1024
"""What is read and sent at once: large enough for full speed, small enough to stay flat."""

ARROW_MAGIC = b"ARROW1\0\0"

Source = str | os.PathLike[str] | bytes | BinaryIO
"""A path, the bytes themselves, or a file or pipe opened in binary mode."""

OnSent = Callable[[int], None]
"""Called with the bytes sent so far."""


class Body(Protocol):
    """What requests sends: with `len` as its length, or in HTTP chunks if that is 0."""

    len: int

    @property
    def may_be_sent(self) -> bool:
        """Whether iterating gives the whole body, from its start."""

    def __iter__(self) -> Iterator[bytes]: ...


class Upload:
    """A file as a body. One that can seek may be sent again; a pipe only until it has been read."""

    def __init__(self, file: BinaryIO, name: str, on_sent: OnSent | None = None) -> None:
        self.name = name
        self.len = _rest_bytes(file)
        self._file = file
        self._start = _position(file)
        self._has_begun = False
        self._on_sent = on_sent
        # `read1` gives what a slow pipe has now; `read` would wait for a full block.
        self._read: Callable[[int], bytes] = getattr(file, "read1", file.read)

    @property
    def may_be_sent(self) -> bool:
        """Whether iterating gives the whole body, from its start."""
        return self._start is not None or not self._has_begun

    def __iter__(self) -> Iterator[bytes]:
        if self._has_begun and self._start is not None:
            self._file.seek(self._start)
        self._has_begun = True
        sent_bytes = 0
        # A file that grows while it is sent is sent as it was: its length is out already.
        limit_bytes = self.len or sys.maxsize
        while block := self._block(min(BLOCK_BYTES, limit_bytes - sent_bytes)):
            yield block
            sent_bytes += len(block)
            if self._on_sent is not None:
                self._on_sent(sent_bytes)
        if sent_bytes < self.len:
            raise SourceError(self.name, "it became shorter while it was being sent")

    def _block(self, limit_bytes: int) -> bytes:
        # urllib3 takes an OSError out of the body for trouble with the connection.
        try:
            return self._read(limit_bytes)
        except OSError as error:
            raise SourceError(self.name, error.strerror or str(error)) from error


@contextmanager
def opened(source: Source, on_sent: OnSent | None = None) -> Iterator[Upload]:
    """The source as an upload; a file that was opened here is closed here.

    Raises `SourceError`, also for what is no source.
    """
    if isinstance(source, (str, os.PathLike)):
        with _open(Path(source)) as file:
            _pass_over_magic(file, str(source))
            yield Upload(file, str(source), on_sent)
    elif isinstance(source, bytes):
        yield Upload(io.BytesIO(source), "the input", on_sent)
    elif isinstance(source, io.TextIOBase):
        raise SourceError("a text file", "open it in binary mode, with 'rb'")
    elif not all(hasattr(source, name) for name in ("read", "seek", "tell")):
        accepted = "a pandas data frame, a path, bytes, or a file opened in binary mode"
        raise SourceError(f"a value of type {type(source).__name__}", f"give {accepted}")
    else:
        yield Upload(source, str(getattr(source, "name", "the input")), on_sent)


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise SourceError(str(path), error.strerror or str(error)) from error


def _position(file: BinaryIO) -> int | None:
    """Where the file stands; `None` if it can't go back there, as a pipe can't."""
    try:
        return file.seek(file.tell())
    except OSError:
        return None


def _pass_over_magic(file: BinaryIO, name: str) -> None:
    """Leaves the file where a body begins.

    An Arrow file, also called Feather, is a stream between a mark and an index:
    <https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format>.
    """
    try:
        if _position(file) == 0 and file.read(len(ARROW_MAGIC)) != ARROW_MAGIC:
            file.seek(0)
    except OSError as error:
        raise SourceError(name, error.strerror or str(error)) from error


def _rest_bytes(file: BinaryIO) -> int:
    """Bytes from the file's position to its end; 0 if it can't tell, as a pipe can't."""
    try:
        start = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(start)
    except OSError:
        return 0
    return max(end - start, 0)
