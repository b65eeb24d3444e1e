"""Reads a model from a file that its maker has saved, to be published."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import skops.io
from sklearn.exceptions import InconsistentVersionWarning

from shared.errors import PublishError
from worker.onnx_model import OnnxModel

PICKLES = frozenset({".joblib", ".pkl", ".pickle"})


def read_estimator(
    path: Path, *, trusted_types: Sequence[str] = (), classes: Sequence[str] = ()
) -> Any:
    """The fitted model in a .joblib, .pkl, .skops or .onnx file.

    A pickle runs code when it is opened, so it must be the caller's own. `classes` names those of
    an ONNX file that does not name them itself. Raises PublishError.
    """
    try:
        with warnings.catch_warnings():
            # It would be published as a model of this version, which it is not.
            warnings.simplefilter("error", InconsistentVersionWarning)
            if path.suffix.lower() == ".onnx":
                return OnnxModel.read(path, classes=classes)
            return _read(path, trusted_types)
    except PublishError:
        raise
    except Exception as error:  # a foreign file and its classes may raise anything
        raise PublishError(
            f"{path.name} can't be opened: {type(error).__name__}: {error}"
        ) from error


def _read(path: Path, trusted_types: Sequence[str]) -> Any:
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        return joblib.load(path)
    if suffix == ".skops":
        return skops.io.load(path, trusted=_trusted(path, trusted_types))
    raise PublishError(f"{path.name} is no .joblib, .pkl, .skops or .onnx file.")


def _trusted(path: Path, trusted_types: Sequence[str]) -> list[str]:
    held: list[str] = skops.io.get_untrusted_types(file=path)
    unknown = [t for t in held if t not in trusted_types]
    if unknown:
        raise PublishError(
            f"{path.name} holds types that nobody vouches for: {', '.join(unknown)}. Look at them, "
            "then name each with --trust."
        )
    return held
