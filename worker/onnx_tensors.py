"""A table's columns as the inputs of an ONNX graph, and its outputs as columns again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shared.errors import ModelLoadError, quoted

# Elements of every type: `Any` stands for the one that a graph declares.
Array = npt.NDArray[Any]

STRING = np.dtype(object)
"""How numpy holds what ONNX calls a string."""

ELEMENTS: dict[str, np.dtype[Any]] = {
    "tensor(float16)": np.dtype(np.float16),
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(int16)": np.dtype(np.int16),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(uint16)": np.dtype(np.uint16),
    "tensor(uint32)": np.dtype(np.uint32),
    "tensor(uint64)": np.dtype(np.uint64),
    "tensor(bool)": np.dtype(np.bool_),
    "tensor(string)": STRING,
}


@dataclass(frozen=True, kw_only=True)
class Input:
    """An input of a graph: some columns, or one, of all rows."""

    name: str
    dtype: np.dtype[Any]
    rank: int
    width: int | None
    """Number of columns; None if the graph takes any."""

    @classmethod
    def of(cls, name: str, type_: str, shape: Sequence[int | str | None]) -> "Input":
        """As onnxruntime describes it; a dimension that is no number is free.

        Raises ModelLoadError if the rows of a table can't be put into it.
        """
        dtype = ELEMENTS.get(type_)
        if dtype is None or len(shape) not in (1, 2):
            raise ModelLoadError(
                f"Input {quoted(name)} of the ONNX graph is {type_} of shape {list(shape)}; rows "
                "of a table are a tensor of one or two dimensions."
            )
        if isinstance(shape[0], int):
            raise ModelLoadError(
                f"Input {quoted(name)} of the ONNX graph takes exactly {shape[0]} rows; export it "
                "with a free first dimension (a dynamic batch size)."
            )
        width = 1 if len(shape) == 1 else shape[1]
        return cls(
            name=name,
            dtype=dtype,
            rank=len(shape),
            width=width if isinstance(width, int) else None,
        )

    def tensor(self, values: Array) -> Array:
        """Columns of the table, rows × columns, as this input takes them. Raises ValueError."""
        if self.width not in (None, values.shape[1]):
            raise ValueError(f"the graph takes {self.width} columns, not {values.shape[1]}")
        cast = self._texts(values) if self.dtype == STRING else self._numbers(values)
        return cast.ravel() if self.rank == 1 else cast

    def _texts(self, values: Array) -> Array:
        texts = values.astype(object)
        if pd.api.types.infer_dtype(texts.ravel(), skipna=False) != "string":
            raise ValueError(f"{quoted(self.name)} takes texts, none may be missing")
        return texts

    def _numbers(self, values: Array) -> Array:
        """As numbers of its type. Floats are rounded to it; nothing else may change a value."""
        numbers = values if values.dtype.kind in "iufb" else values.astype(np.float64)
        if self.dtype.kind == "f":
            try:
                with np.errstate(over="raise"):
                    return numbers.astype(self.dtype)
            except FloatingPointError as error:
                raise ValueError(f"a number is too large for {self.dtype}") from error
        with np.errstate(invalid="ignore"):
            cast = numbers.astype(self.dtype)
        if not np.array_equal(cast, numbers):
            raise ValueError(
                f"{quoted(self.name)} takes {self.dtype}, of which none may be missing"
            )
        return cast


def have_gaps(tensors: Mapping[str, Array]) -> bool:
    """Whether a value is missing in any of them."""
    return any(t.dtype.kind == "f" and bool(np.isnan(t).any()) for t in tensors.values())


def is_lost(output: Any) -> bool:
    """Whether an output holds what is no number."""
    return bool(np.isnan(columns(output)).any())


def columns(output: Any) -> Array:
    """An output of any kind as rows × columns. A map of each row, as classifiers of scikit-learn
    are exported with, gives a column for each of its keys."""
    if isinstance(output, list):
        return np.array([list(row.values()) for row in output])
    return output.reshape(-1, 1) if output.ndim == 1 else np.asarray(output)


def side_by_side(outputs: Sequence[Any]) -> Array:
    """The columns of all outputs."""
    return columns(outputs[0]) if len(outputs) == 1 else np.hstack([*map(columns, outputs)])
