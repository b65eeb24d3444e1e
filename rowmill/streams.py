"""What the paths of commands stand for: a file, or stdin and stdout where one is `-`."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from rowmill.downloads import save, write
from rowmill.errors import OutputError

STANDARD_STREAM = "-"
"""Stands for stdin or stdout where a path is asked for."""


def input_of(source: str) -> Path | BinaryIO:
    """The file to submit."""
    return sys.stdin.buffer if source == STANDARD_STREAM else Path(source)


def input_bytes(source: str) -> int | None:
    """How large the file is; `None` for a stream."""
    path = Path(source)
    is_stream = source == STANDARD_STREAM or not path.is_file()
    return None if is_stream else path.stat().st_size


def write_to(blocks: Iterable[bytes], target: str) -> None:
    """Writes to the target: a path whole or not at all, stdout as it comes."""
    if target != STANDARD_STREAM:
        save(blocks, target)
        return
    try:
        write(blocks, sys.stdout.buffer)
    except BrokenPipeError:
        raise  # 'rowmill results … | head': click ends the process without a word
    except OSError as error:
        raise OutputError("stdout", error.strerror or str(error)) from error
