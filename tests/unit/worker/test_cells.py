"""What counts as a number is what pandas' C parser takes for one."""

import io

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories import make_feature
from worker import cells

LIKE_NUMBERS = st.one_of(
    st.text(st.sampled_from("0123456789+-.eE _xinfa,'٣²½\xa0\t"), min_size=1, max_size=9),
    st.floats().map(repr),
    st.integers().map(str),
    st.sampled_from(["+inf", "-Infinity", "iNF", "nan", "-nan", "NaN", "NA", "TRUE", "0x10"]),
    st.sampled_from(["1e5000", "1e-5000", "1_000", "1,5", "1e", "1f", "1d0", " 1", "1 ", "\n1"]),
    st.sampled_from([".", ".5", "5.", "e5", "+", "--1"]),
)


def is_taken_by_pandas(text: str) -> bool:
    """Beside a number, since alone a column of booleans is one of numbers to pandas."""
    try:
        pd.read_csv(io.StringIO(f'"{text}"\n7\n'), header=None, dtype="float64")
    except ValueError:
        return False
    return True


@settings(max_examples=150)
@given(LIKE_NUMBERS)
def test_a_text_is_a_number_exactly_if_pandas_takes_it_for_one(text: str) -> None:
    texts = pd.read_csv(io.StringIO(f'"{text}"\n7\n'), header=None, dtype="str")[0]

    assert cells.not_numbers(texts).tolist() == [not is_taken_by_pandas(text), False]


@settings(max_examples=50)
@given(st.lists(LIKE_NUMBERS, min_size=1, max_size=10))
def test_a_column_of_texts_judged_as_numbers_can_be_read_as_numbers(texts: list[str]) -> None:
    column = pd.Series(texts, dtype="str")

    good = column[~cells.not_numbers(column)]

    if len(good):
        quoted = "\n".join(f'"{text}"' for text in good)
        table = pd.read_csv(io.StringIO(quoted), header=None, dtype="float64")
        assert table[0].dtype == "float64"


def test_missing_texts_count_as_numbers() -> None:
    texts = pd.Series([None, "1", "x"], dtype="str")

    assert cells.not_numbers(texts).tolist() == [False, False, True]


def test_only_rules_that_are_broken_are_named() -> None:
    column = pd.Series([1.0, float("nan"), float("inf")])

    found = {f.code: f.mask.tolist() for f in cells.faults(column, make_feature())}

    assert found == {
        "missing_value": [False, True, False],
        "not_finite": [False, False, True],
    }
    assert list(cells.faults(column[:1], make_feature())) == []


@pytest.mark.parametrize("text", ["true", "TRUE", "False", "0", "1"])
def test_booleans_are_read_in_all_their_usual_spellings(text: str) -> None:
    feature = make_feature(dtype="bool")
    column = pd.Series([text], dtype="str")

    assert list(cells.faults(column, feature)) == []
    assert cells.converted(column, feature).tolist() == [text.lower() in ("true", "1")]


@pytest.mark.parametrize("text", ["yes", "2", "1.0", " true"])
def test_other_texts_are_no_booleans(text: str) -> None:
    column = pd.Series([text], dtype="str")

    assert [f.code for f in cells.faults(column, make_feature(dtype="bool"))] == ["not_a_boolean"]


def test_a_text_never_seen_is_taken_where_the_model_takes_it() -> None:
    feature = make_feature(dtype="string", categories=("Bonn",), accepts_unseen=True)

    assert list(cells.faults(pd.Series(["Ulm"], dtype="str"), feature)) == []
