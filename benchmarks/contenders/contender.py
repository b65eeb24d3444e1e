"""What a contender is: a service that runs, and a way to use it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.conversations import Conversation
from benchmarks.models import Model


class UnavailableError(Exception):
    """A contender that is not installed, or does not know a route yet; the message says which."""


class Service(Protocol):
    """What runs from before the first round to after the last."""

    name: str
    redis_socket: Path | None
    """The socket of its Redis server, if it has one of its own."""

    def running(self, models: Sequence[Model]) -> AbstractContextManager[object]:
        """Starts it, with these models, and stops it at the end. Raises UnavailableError."""

    def groups(self) -> Mapping[str, Sequence[int]]:
        """Its process ids by what they are for."""


@dataclass(frozen=True, kw_only=True)
class BulkRun:
    """One bulk job that is done."""

    seconds: float
    results: tuple[Path, ...]
    """Files that hold the predictions of all rows, in order."""
    explain: Callable[[], Mapping[str, float]] = dict
    """Asked once the clock stands still: more figures, `step.…` for the seconds of its parts."""


@dataclass(frozen=True, kw_only=True)
class SmallWay:
    """How small jobs of one model are done."""

    port: int
    converse: Callable[[bytes], Conversation]
    body: Callable[[pd.DataFrame], bytes]
    predictions: Callable[[bytes], npt.NDArray[np.float64]]
    """From what a conversation returns: rows × columns."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A service used in one way."""

    name: str
    title: str
    service: Service
    workloads: frozenset[str]
    """What it is compared in; it may do bulk jobs in w3 alone."""
    bulk: Callable[[Model, Path], BulkRun] | None = None
    """Scores the file, writing results under the folder."""
    bulk_predictions: Callable[[Model, BulkRun], npt.NDArray[np.float64]] | None = None
    """What is in the result files: rows × columns. Raises ValueError when it is ill-formed."""
    small: Callable[[Model], SmallWay] | None = None
    problem: Callable[[], str | None] | None = None
    """Asked of the running service: why it can't be used in this way, if it can't."""
