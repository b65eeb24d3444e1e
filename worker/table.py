"""A chunk's CSV records as typed features, with a row error for every record that does not fit.

The quick way proves by counting that no record is ragged and reads the whole chunk with pandas'
C parser. Only when something is wrong are records looked at one by one; the guilty are set aside
and the others are read the quick way again, so a row's numbers never depend on whether its
neighbours are sound.
"""

import codecs
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from shared.chunks import ChunkPlan, RejectedRows, RowError
from shared.errors import quoted
from shared.jobs import JobSpec
from shared.signature import Dtype, Signature
from worker import cells
from worker.cells import Fault
from worker.feature_counter import Cells
from worker.json_records import JsonRecords
from worker.records import ChunkRecords

Positions = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Dtypes = str | np.dtype[np.float64] | dict[str, str]

_NO_COLUMNS = pd.DataFrame()
# pandas would look up its name for every chunk.
_FLOAT = np.dtype(np.float64)
_BOOLEAN = re.compile(rb"true|false", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of one chunk.

    `features` holds the rows that can be scored, typed and ordered by the signature, and
    `positions` says which rows of the chunk they are (from 0). `carried` holds the text of the
    columns that results repeat, for all rows. Every row is in `features` or has errors.
    """

    features: pd.DataFrame
    positions: Positions
    carried: pd.DataFrame
    errors: list[RowError]
    read: Cells
    """The rows whose cells could be read, also those that were set aside afterwards."""


class TableReader:
    """Reads one chunk. Row errors gather here while it is read."""

    def __init__(
        self, data: bytes, plan: ChunkPlan, *, spec: JobSpec, signature: Signature
    ) -> None:
        records = JsonRecords if spec.input_format.is_json else ChunkRecords
        self._records = records(data, spec, rows=plan.rows)
        self._plan = plan
        self._spec = spec
        self._signature = signature
        self._has_only_floats = all(f.dtype is Dtype.FLOAT for f in signature.features)
        self._errors: list[RowError] = []

    def read(self) -> Table:
        """The table; a chunk gives the same one every time."""
        positions = np.arange(self._plan.rows, dtype=np.int64)
        if self._records.are_sound():
            data = self._records.table()
        else:
            positions = self._undamaged()
            data = self._records.joined(positions)
        carried = self._carried(data, positions)
        try:
            features, numbers = self._read_typed(data)
        except ValueError:  # a cell is not of its column's type
            positions = self._without_non_numbers(data, positions)
            features, numbers = self._read_typed(self._records.joined(positions))
        read = Cells(numbers=numbers, table=features)
        # Nearly always, and then one look at all columns is enough.
        if not (self._has_only_floats and np.isfinite(numbers).all()):
            features, positions = self._without_faults(features, positions)
        return Table(
            features=features,
            positions=positions,
            carried=carried,
            errors=self._errors,
            read=read,
        )

    def row_error(self, position: int, column: str, code: str, message: str) -> RowError:
        """A row error about the record at `position` of this chunk."""
        return RowError(
            row=self._plan.row(position),
            line=self._line(position),
            column=column,
            code=code,
            message=message,
        )

    def rejected(self, positions: Sequence[int]) -> RejectedRows:
        """The records at these positions, as they were sent."""
        return RejectedRows(
            rows=tuple(self._plan.row(position) for position in positions),
            lines=tuple(self._line(position) for position in positions),
            records=self._records.sent(positions),
        )

    def _line(self, position: int) -> int:
        if not self._spec.input_format.has_lines:
            return self._plan.row(position)
        return self._plan.line(position, self._records.line(position))

    # --- setting rows aside

    def _undamaged(self) -> Positions:
        """Positions of the records that can be read at all."""
        sound = []
        for position, damage in enumerate(self._records.damages()):
            if damage is None:
                sound.append(position)
            else:
                self._errors.append(
                    self.row_error(position, damage.column, damage.code, damage.message)
                )
        return np.array(sound, dtype=np.int64)

    def _without_non_numbers(self, data: bytes, positions: Positions) -> Positions:
        """Positions of the rows whose numbers are numbers."""
        features = [f for f in self._signature.features if f.dtype in cells.NUMERIC]
        texts = self._read(data, [f.name for f in features], dtype="str", keep_missing=True)
        faults = [
            Fault(
                column=feature.name,
                code="not_a_number",
                expected="a number",
                mask=cells.not_numbers(texts[feature.name]),
            )
            for feature in features
        ]
        return positions[self._faultless(faults, texts, positions)]

    def _without_faults(
        self, features: pd.DataFrame, positions: Positions
    ) -> tuple[pd.DataFrame, Positions]:
        """The rows that break no rule of the signature, in the types the model knows."""
        known = self._signature.features
        faults = [fault for f in known for fault in cells.faults(features[f.name], f)]
        if faults:
            good = self._faultless(faults, features, positions)
            features, positions = features[good], positions[good]
        typed = {f.name: cells.converted(features[f.name], f) for f in known}
        return pd.DataFrame(typed, columns=list(self._signature.feature_names)), positions

    def _faultless(
        self, faults: Sequence[Fault], values: pd.DataFrame, positions: Positions
    ) -> npt.NDArray[np.bool_]:
        """Which rows no fault is about; each of the others gets one row error, about its first."""
        good = np.ones(len(positions), dtype=np.bool_)
        for fault in faults:
            newly_bad = np.flatnonzero(fault.mask & good)
            good[newly_bad] = False
            found = values[fault.column].to_numpy(dtype=object)[newly_bad]
            start = f"Column {quoted(fault.column)} holds "
            for position, value in zip(positions[newly_bad].tolist(), found, strict=True):
                message = f"{start}{_shown(value)}; it takes {fault.expected}."
                self._errors.append(self.row_error(position, fault.column, fault.code, message))
        return good

    # --- reading

    def _read_typed(self, data: bytes) -> tuple[pd.DataFrame, Numbers]:
        """All features, and those of them that are numbers.

        Raises ValueError for a text where a number belongs.
        """
        names = number_names = self._signature.feature_names
        if self._has_only_floats:
            # As pandas gives it: of a table made of one array a model could not write into its own.
            table = self._read(data, names, dtype=_FLOAT, keep_missing=True)
            numbers = table.to_numpy()
        else:
            is_number = {f.name: f.dtype in cells.NUMERIC for f in self._signature.features}
            dtypes = {name: "float64" if is_number[name] else "str" for name in names}
            table = self._read(data, names, dtype=dtypes, keep_missing=True)
            number_names = tuple(name for name in names if is_number[name])
            numbers = table[list(number_names)].to_numpy()
        suspects = [number_names[i] for i in cells.may_be_booleans(numbers)]
        self._refuse_booleans(data, suspects)
        return table, numbers

    def _refuse_booleans(self, data: bytes, names: Sequence[str]) -> None:
        """Raise ValueError if one of these number columns holds nothing but "true" and "false":
        pandas takes them for 1 and 0, but only where no neighbour is a number."""
        if not names or not _BOOLEAN.search(data):
            return
        texts = self._read(data, names, dtype="str", keep_missing=True)
        if any(cells.not_numbers(texts[name]).any() for name in names):
            raise ValueError("a boolean where a number belongs")

    def _carried(self, data: bytes, positions: Positions) -> pd.DataFrame:
        """The carried columns' text for all rows; of damaged records what can be told of it."""
        names = list(self._spec.carried)
        if not names:
            return _NO_COLUMNS
        texts = self._read(data, names, dtype="str", keep_missing=False)
        if len(positions) == self._plan.rows:
            return texts
        where = [self._spec.header.index(name) for name in names]
        texts.index = pd.Index(positions)
        damaged = sorted(set(range(self._plan.rows)) - set(positions.tolist()))
        fields = (self._records.text_of(position) for position in damaged)
        rest = [[text[i] for i in where] for text in fields]
        return pd.concat([texts, pd.DataFrame(rest, columns=names, index=damaged)]).sort_index()

    def _read(
        self, data: bytes, names: Sequence[str], *, dtype: Dtypes, keep_missing: bool
    ) -> pd.DataFrame:
        """Some columns of records without a header, by pandas' C parser.

        `keep_missing`: whether empty cells and, in CSV, pandas' usual marks ("NA", "null", …)
        become missing values; otherwise they stay the text they are.
        """
        if not data:
            return pd.DataFrame(columns=list(names)).astype(dtype)  # type: ignore[arg-type]
        if data.startswith(codecs.BOM_UTF8):
            data = codecs.BOM_UTF8 + data  # pandas drops one; inside a body it belongs to the cell
        layout = _layout(self._spec.header, tuple(names))
        table: pd.DataFrame = pd.read_csv(
            io.BytesIO(data),
            sep=self._spec.delimiter or ",",
            header=None,
            usecols=layout.positions,
            index_col=False,
            dtype=layout.by_position(dtype),
            na_filter=keep_missing,
            keep_default_na=not self._spec.input_format.has_nulls,
            na_values=[""] if self._spec.input_format.has_nulls else None,
            engine="c",
            encoding="utf-8",
            # In pieces, what is an error in a column would depend on the piece it is in.
            low_memory=False,
        )
        table.columns = layout.index()
        return table if layout.is_in_order else table[list(names)]


class _Layout:
    """Where some columns lie in records with this header.

    pandas reads a few records in two thirds of the time if it knows columns by position and gets
    their names afterwards.
    """

    def __init__(self, header: Sequence[str], names: Sequence[str]) -> None:
        where = sorted((header.index(name), name) for name in names)
        self.positions = [position for position, _ in where]
        self._names = [name for _, name in where]
        self._index = pd.Index(self._names)
        self.is_in_order = self._names == list(names)

    def index(self) -> pd.Index:
        """The names in the order of the header; each table has its own to rename."""
        return self._index.view()

    def by_position(self, dtype: Dtypes) -> str | np.dtype[np.float64] | dict[int, str]:
        """The types with the columns' positions in place of their names."""
        if not isinstance(dtype, dict):
            return dtype
        return {at: dtype[name] for at, name in zip(self.positions, self._names, strict=True)}


@lru_cache(maxsize=64)
def _layout(header: tuple[str, ...], names: tuple[str, ...]) -> _Layout:
    return _Layout(header, names)


def _shown(value: object) -> str:
    """A cell as a message shows it."""
    if pd.isna(value):  # type: ignore[call-overload]
        return "nothing"
    return quoted(f"{value:g}" if isinstance(value, float) else str(value))
