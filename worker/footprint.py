"""How much memory a model takes in a process that has it loaded."""

import logging
import pickle
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from shared.manifest import ArtifactFormat, Manifest

logger = logging.getLogger(__name__)

ONNX_TIMES = 6
"""A graph's own bytes, and its session: five times as many for trees, less for networks."""

SKLEARN = frozenset({ArtifactFormat.SKOPS, ArtifactFormat.JOBLIB})


def footprint(estimator: Any, manifest: Manifest) -> int:
    """About how many bytes an opened artifact takes. Of an ensemble, without its members.

    As many as its file as a rule, but more if that is compressed, or if the model has many small
    objects. Explaining it takes more, and only where it is asked for.
    """
    in_file = manifest.artifact.bytes
    if manifest.artifact.format is ArtifactFormat.ONNX:
        return ONNX_TIMES * in_file
    if manifest.artifact.format not in SKLEARN:
        return in_file
    try:
        return max(in_file, weigh(estimator))
    except Exception as error:  # noqa: BLE001 – a class may raise anything when it is pickled
        fields = {"model": manifest.version_id, "reason": type(error).__name__}
        logger.warning("model not weighed", extra=fields)
        return in_file


def weigh(estimator: Any) -> int:
    """Bytes of everything that would be pickled, which copies no array."""
    scale = _Scale()
    scale.dump(estimator)
    return scale.bytes


class _Scale(pickle.Pickler):
    """Weighs what it is to write."""

    def __init__(self) -> None:
        super().__init__(_Nowhere(), protocol=5, buffer_callback=_leave_out)
        self.bytes = 0

    def persistent_id(self, obj: Any) -> None:
        """Told of each object on the way."""
        size = sys.getsizeof(obj)
        if isinstance(obj, np.ndarray) and not obj.flags.owndata:
            # What scikit-learn's trees give is a view of memory that they hold themselves.
            size += obj.nbytes
        self.bytes += size


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: bytes) -> int:
        return len(data)


def _leave_out(_: pickle.PickleBuffer) -> Iterable[object]:
    """Keeps the content of arrays out of what is written."""
    return ()
