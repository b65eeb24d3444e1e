"""CSV files for property tests, odd in every way a file may be odd, and how pandas reads them."""

import csv
import io
import re
from dataclasses import dataclass

import pandas as pd
from hypothesis import strategies as st

from shared import csv_records

WIDEST = 16
"""More fields than any record of the strategies has, so that pandas takes ragged ones, too."""

LINE_ENDS = ("\n", "\r\n", "\r")
DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True, kw_only=True)
class CsvFile:
    """Bytes of a CSV and what its fields are cut at."""

    data: bytes
    delimiter: str

    @property
    def separator(self) -> bytes:
        return self.delimiter.encode()

    @property
    def masked(self) -> bytes:
        return csv_records.mask(self.data, self.separator)


def read_by_pandas(data: bytes, delimiter: str) -> list[list[str]]:
    """The fields of all records, each filled up with empty ones to the same width."""
    try:
        table = pd.read_csv(
            io.BytesIO(data),
            sep=delimiter,
            header=None,
            names=list(range(WIDEST)),
            index_col=False,
            dtype=object,
            keep_default_na=False,
            na_filter=False,
        )
    except pd.errors.EmptyDataError:
        return []
    return table.to_numpy().tolist()


@st.composite
def written_files(draw: st.DrawFn) -> CsvFile:
    """What `csv.writer` writes of a table of any texts, blank lines between the rows."""
    delimiter, line_end = draw(st.sampled_from(DELIMITERS)), draw(st.sampled_from(LINE_ENDS))
    cells = st.text(st.sampled_from("ab0é漢🙂\"' .\n\r,;\t|"), max_size=5)
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(cells, min_size=width, max_size=width), max_size=6))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    lines = [_line(row, delimiter, quoting) for row in rows]
    gaps = draw(st.lists(st.sampled_from(["", line_end, " " + line_end]), min_size=6, max_size=6))
    text = "".join(line + line_end + gap for line, gap in zip(lines, gaps, strict=False))
    if draw(st.booleans()):
        text = text.removesuffix(line_end)
    return CsvFile(data=text.encode(), delimiter=delimiter)


def _line(row: list[str], delimiter: str, quoting: int) -> str:
    # With this line end the writer puts quotes around CR and LF alike.
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator="\r\n").writerow(row)
    return text.getvalue().removesuffix("\r\n")


@st.composite
def assembled_files(draw: st.DrawFn) -> CsvFile:
    """Bytes put together by hand: ragged, with stray quotes, blanks and line ends of all kinds."""
    delimiter = draw(st.sampled_from(DELIMITERS))
    pieces = st.sampled_from(["a", "é", " ", "\t", '"', '""', delimiter, *LINE_ENDS])
    data = "".join(draw(st.lists(pieces, max_size=14))).encode()
    return CsvFile(data=data, delimiter=delimiter)


def csv_files() -> st.SearchStrategy[CsvFile]:
    """Files whose quotes are all closed and which pandas reads as RFC 4180 has it."""
    files = st.one_of(written_files(), assembled_files())
    return files.filter(lambda file: not _has_open_quote(file) and not _is_misread(file))


def _has_open_quote(file: CsvFile) -> bool:
    return csv_records.ends_inside_quotes(file.data, file.separator)


def _is_misread(file: CsvFile) -> bool:
    """Behind a blank line that ends with a lone CR pandas swallows a delimiter."""
    blank_then_delimiter = rb"(?:\A|[\r\n])[ \t]*\r" + re.escape(file.separator)
    return re.search(blank_then_delimiter, file.data) is not None
