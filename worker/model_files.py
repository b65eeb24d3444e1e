"""Reads what a model is published from: the file that its maker has saved, and a sample of rows."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import skops.io
from sklearn.exceptions import InconsistentVersionWarning

from shared.errors import ModelError, PublishError
from worker.onnx_model import OnnxModel

PICKLES = frozenset({".joblib", ".pkl", ".pickle"})


def read_estimator(
    path: Path, *, trusted_types: Sequence[str] = (), classes: Sequence[str] = ()
) -> Any:
    """The fitted model in a .joblib, .pkl, .skops or .onnx file.

    A pickle runs code when it is opened, so it must be the caller's own. `classes` names those of
    an ONNX file that does not name them itself. Raises ModelError.
    """
    try:
        with warnings.catch_warnings():
            # It would be published as a model of this version, which it is not.
            warnings.simplefilter("error", InconsistentVersionWarning)
            if path.suffix.lower() == ".onnx":
                return OnnxModel.read(path, classes=classes)
            return _read(path, trusted_types)
    except ModelError:
        raise
    except InconsistentVersionWarning as warning:
        raise PublishError(
            f"{path.name} was saved by scikit-learn {warning.original_sklearn_version}, and this "
            f"is {warning.current_sklearn_version}; train it again under this one, by the Python "
            f"that runs this command: {sys.executable}"
        ) from warning
    except (AttributeError, ImportError) as error:
        raise PublishError(
            f"{path.name} needs what can't be imported here: {error}. Its classes and functions "
            "must be in modules that the workers can import, too, not in the script that made it."
        ) from error
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


def read_sample(path: Path, estimator: Any) -> pd.DataFrame:
    """The columns of a CSV that a model was fitted on, in its order; all where it knows no names.

    Raises PublishError.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise PublishError(f"The sample {path.name} can't be read: {error}") from error
    names = [str(name) for name in getattr(estimator, "feature_names_in_", table.columns)]
    if missing := [name for name in names if name not in table]:
        raise PublishError(
            f"The sample {path.name} lacks columns of the model: {', '.join(missing)}; it has: "
            f"{', '.join(table.columns)}."
        )
    return table[names]
