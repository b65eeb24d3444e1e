"""What one cell must be like, asked of whole columns at once."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shared.errors import quoted
from shared.signature import Dtype, Feature

Mask = npt.NDArray[np.bool_]

NUMERIC = frozenset({Dtype.FLOAT, Dtype.INT})

BOOLEANS = {"true": True, "false": False, "1": True, "0": False}

_PLAIN_NUMBER = r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_NEAR_NUMBER = re.compile(r"[\s0-9eE+.\-]+|\s*[+-]?(?:inf|infinity|nan)\s*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A rule that cells of one column break; `mask` marks their rows."""

    column: str
    code: str
    expected: str
    mask: Mask


def faults(column: "pd.Series[Any]", feature: Feature) -> Iterator[Fault]:
    """The rules that a typed column breaks, only those that some cell breaks."""
    for code, expected, mask in _rules(column, feature):
        if mask.any():
            yield Fault(column=feature.name, code=code, expected=expected, mask=mask)


def _rules(column: "pd.Series[Any]", feature: Feature) -> Iterator[tuple[str, str, Mask]]:
    missing = column.isna().to_numpy()
    if not feature.nullable:
        yield "missing_value", "a value", missing
    if feature.dtype in NUMERIC:
        values = column.to_numpy(dtype=np.float64)
        yield "not_finite", "a finite number", np.isinf(values)
    elif feature.dtype is Dtype.BOOL:
        known = column.str.lower().isin(BOOLEANS).to_numpy()
        yield "not_a_boolean", "true or false", ~known & ~missing
    elif feature.categories is not None and not feature.accepts_unseen:
        known = column.isin(feature.categories).to_numpy()
        expected = f"one of {', '.join(map(quoted, feature.categories[:10]))}"
        yield "unknown_category", expected, ~known & ~missing


def converted(column: "pd.Series[Any]", feature: Feature) -> "pd.Series[Any]":
    """A column without faults in the type the model was trained on, where all its values fit it.

    Otherwise it is what pandas would have made of it: an integer feature with missing or
    fractional values is a float one, a boolean one with missing values holds objects.
    """
    if feature.dtype is Dtype.INT and (column % 1 == 0).all() and (column.abs() < 2**63).all():
        return column.astype(np.int64)
    if feature.dtype is Dtype.BOOL:
        values = column.str.lower().map(BOOLEANS)
        return values.astype(object if column.isna().any() else np.bool_)
    return column


def may_be_booleans(numbers: npt.NDArray[np.float64]) -> list[int]:
    """The columns of a table of numbers that hold nothing but 0, 1 and missing values."""
    if not numbers.size:
        return []
    # Hardly any column gets beyond its first cell.
    candidates: list[int] = np.flatnonzero(_is_boolean(numbers[0])).tolist()
    return [i for i in candidates if _is_boolean(numbers[:, i]).all()]


def _is_boolean(values: npt.NDArray[np.float64]) -> Mask:
    mask: Mask = (values == 0) | (values == 1) | np.isnan(values)
    return mask


def not_numbers(texts: "pd.Series[str]") -> Mask:
    """Which of these texts (missing ones count as numbers) pandas' C parser refuses as a float.

    Plain numbers and what is nothing like one are told by pattern; the rest is put before the
    parser itself, so this agrees with it in every case.
    """
    plain = texts.str.fullmatch(_PLAIN_NUMBER).to_numpy(dtype=np.bool_)
    refused = ~plain & texts.notna().to_numpy()
    for position in np.flatnonzero(refused):
        refused[position] = not is_number(texts.iloc[position])
    return refused


@lru_cache(maxsize=4096)
def is_number(text: str) -> bool:
    """Whether pandas' C parser takes this text for a float."""
    if not _NEAR_NUMBER.fullmatch(text):
        return False
    try:
        # The words for missing values are no numbers where they have not been taken for such.
        pd.read_csv(io.StringIO(f'"{text}"'), header=None, dtype=np.float64, keep_default_na=False)
    except ValueError:
        return False
    return True
