"""Bytes of chunks in an object store: S3 and what speaks like it, Google's, Azure's, or a folder.

An object is written once and never changed; `Reference`s, which lie in Redis in place of the bytes,
say where in it something is. What to do about objects that nobody refers to any more is decided in
`job_store/garbage.py`.

obstore is imported by the first use. It has threads, which a fork would not take along: a process
that others are forked from must not come here.
"""

import logging
import os
import re
import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.errors import PayloadStoreUnavailableError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

logger = logging.getLogger(__name__)

SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", "file")
"""What can be listed as well as read and written; a web server can't."""

TIMEOUT_SECONDS = 20.0
"""Longest request: a chunk of 4 MiB at 200 KiB/s."""

CONNECT_SECONDS = 3.0
RETRIES = 2
RETRY_SECONDS = 8.0
"""No request is repeated so long after the first: a call takes less than half a minute in all."""

READERS = 8
"""Threads that read ahead, for all who read in a process: one request is bound by its way."""

AHEAD_BYTES = 1024**2
"""So much is read ahead for one reader, or one text if that is larger."""

DELETED_AT_ONCE = 1000
"""What S3 deletes in one request."""

_STATUS = re.compile(r"status code: (\d{3})")
_SYSTEM = re.compile(r"\(os error (\d+)\)")
_KIND = re.compile(r"\bkind: (\w+)")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")


def checked_url(url: str) -> str:
    """The URL, if objects could lie under it and there is no secret in it. Raises ValueError."""
    parts = urlsplit(url)
    has_more = "@" in parts.netloc or parts.query or parts.fragment or re.search(r"\s", url)
    is_whole = parts.path.startswith("/") and not parts.netloc
    is_placed = is_whole if parts.scheme == "file" else bool(parts.netloc)
    if parts.scheme not in SCHEMES or not is_placed or has_more:
        raise ValueError(
            "write s3://bucket/prefix or file:///directory; credentials and endpoint belong into "
            "the store's own variables"
        )
    return url


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Where bytes are: a part of an object."""

    name: str
    first: int = 0
    size: int

    def dump(self) -> bytes:
        return f"{self.name} {self.first} {self.size}".encode()

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Raises ValueError for what is no reference."""
        name, first, size = text.split(" ")
        return cls(name=name, first=int(first), size=int(size))


def opened(url: str) -> "PayloadStore":
    """This process's client of the object store at `url`."""
    return _opened(url, os.getpid())


@lru_cache(maxsize=8)
def _opened(url: str, _process: int) -> "PayloadStore":
    return PayloadStore(url)


class PayloadStore:
    """Objects under a URL. Safe to share by threads; connects when first used.

    All methods raise PayloadStoreUnavailableError when the store does not answer in bounded time,
    or refuses to.
    """

    def __init__(self, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds

    @cached_property
    def _objects(self) -> "ObjectStore":
        from obstore.store import from_url

        url = checked_url(self._url)
        if urlsplit(url).scheme == "file":
            return from_url(url, mkdir=True)
        client: ClientConfig = {
            "timeout": timedelta(seconds=self._timeout_seconds),
            "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, self._timeout_seconds)),
            # Who writes http:// into the endpoint's variable means it.
            "allow_http": True,
        }
        retry: RetryConfig = {
            "max_retries": RETRIES,
            "retry_timeout": timedelta(seconds=min(RETRY_SECONDS, self._timeout_seconds)),
            "backoff": {
                "init_backoff": timedelta(seconds=0.1),
                "max_backoff": timedelta(seconds=1),
                "base": 3,
            },
        }
        return from_url(url, client_options=client, retry_config=retry)

    @cached_property
    def _readers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(READERS, thread_name_prefix="payloads")

    def put(self, name: str, data: bytes) -> None:
        """Write an object, whole or not at all."""
        import obstore

        with _translated():
            # In parts, one that is broken off would leave what no listing shows.
            obstore.put(self._objects, name, data, use_multipart=False)

    def read(self, reference: Reference) -> bytes | None:
        """The bytes; None if the store has not all of them."""
        import obstore

        size = reference.size
        if not size:
            return b""
        with _translated():
            try:
                found = obstore.get_range(
                    self._objects, reference.name, start=reference.first, length=size
                )
            except FileNotFoundError as error:
                if any(sign in str(error) for sign in _NO_BUCKET):
                    raise
                return None
        return bytes(found) if len(found) == size else None

    def read_all(self, references: Iterable[Reference]) -> Iterator[bytes | None]:
        """As `read`, one after the other; while one is used the next are read, up to
        `AHEAD_BYTES`."""
        rest = deque(references)
        ahead: deque[tuple[Reference, Future[bytes | None]]] = deque()

        def read_ahead() -> None:
            while rest and (not ahead or _bytes(ahead) + rest[0].size <= AHEAD_BYTES):
                reference = rest.popleft()
                ahead.append((reference, self._readers.submit(self.read, reference)))

        try:
            read_ahead()
            while ahead:
                _, future = ahead.popleft()
                read_ahead()
                yield future.result()
        finally:
            for _, future in ahead:
                future.cancel()

    def delete(self, name: str) -> None:
        """Delete an object, if there is one."""
        import obstore

        with _translated(), suppress(FileNotFoundError):
            obstore.delete(self._objects, name)

    def clear(self, prefix: str) -> int:
        """Delete all objects whose names begin so; `prefix` ends with a slash. Returns how many."""
        import obstore
        from obstore.store import LocalStore

        with _translated():
            if isinstance(self._objects, LocalStore):
                return _clear_folder(self._objects, prefix)
            found = obstore.list(self._objects, prefix, chunk_size=DELETED_AT_ONCE)
            names = [meta["path"] for some in found for meta in some]
            for first in range(0, len(names), DELETED_AT_ONCE):
                obstore.delete(self._objects, names[first : first + DELETED_AT_ONCE])
        return len(names)


def _bytes(ahead: Iterable[tuple[Reference, object]]) -> int:
    return sum(reference.size for reference, _ in ahead)


def _clear_folder(objects: "ObjectStore", prefix: str) -> int:
    """Delete a folder, with what was begun to be written there, which a listing leaves out."""
    folder = objects.prefix / prefix  # type: ignore[operator, union-attr]
    names = sum(len(files) for _, _, files in os.walk(folder))
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
    return names


@contextmanager
def _translated() -> Iterator[None]:
    """Raise PayloadStoreUnavailableError in place of the client's errors.

    They quote requests and answers; only a few known words of theirs are told.
    """
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        fields = {"reason": f"{type(error).__name__} {_known_words(str(error))}".strip()}
        logger.warning("object store out of reach", extra=fields)
        raise PayloadStoreUnavailableError from None


def _known_words(message: str) -> str:
    if status := _STATUS.search(message):
        return f"status {status[1]}"
    if system := _SYSTEM.search(message):
        return os.strerror(int(system[1]))
    return " ".join(_KIND.findall(message))
