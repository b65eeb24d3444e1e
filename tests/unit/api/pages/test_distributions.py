"""Predictions in bins, beside those of the training."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.pages.distributions import MAX_CLASSES, Distribution, of_classes, of_numbers

NUMBERS = st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=300)
QUANTILES = st.lists(
    st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=51, max_size=51
).map(sorted)


def numbers(
    values: list[float], trained: list[float] | None = None, *, is_whole: bool = False
) -> Distribution:
    found = of_numbers("prediction", values, trained or [], is_whole=is_whole)
    assert found is not None
    return found


def shares(found: Distribution) -> list[float]:
    return [b.share for b in found.bins]


# --- numbers


def test_bins_have_a_round_width_and_cover_all() -> None:
    found = numbers([float(n) for n in range(101)])

    assert [(b.low, b.high) for b in found.bins] == [(5.0 * n, 5.0 * n + 5) for n in range(20)]
    assert sum(shares(found)) == pytest.approx(1)
    assert found.values == 101
    assert found.left_out == 0


def test_the_training_is_drawn_in_the_same_bins() -> None:
    trained = np.linspace(0, 200, 51).tolist()

    found = numbers([10.0] * 50 + [190.0] * 50, trained)

    assert found.has_training
    assert [b.trained_share for b in found.bins] == pytest.approx([1 / 20] * 20)
    assert {b.low: b.share for b in found.bins if b.share} == {10: 0.5, 190: 0.5}


def test_a_training_of_few_different_values_lies_where_they_are() -> None:
    found = numbers([0.0, 10.0], [0.0] * 26 + [10.0] * 25)

    assert found.bins[0].trained_share == pytest.approx(0.5, abs=0.03)
    assert found.bins[-1].trained_share == pytest.approx(0.5, abs=0.03)


def test_one_value_that_lies_far_away_does_not_make_one_bin_of_all_others() -> None:
    found = numbers([*(n / 10 for n in range(1000)), 1e9])

    assert found.left_out == 1
    assert found.bins[-1].high <= 200


def test_one_value_has_a_bin() -> None:
    for value in (0.0, -3.25, 1e-12, 7e200):
        found = numbers([value] * 3)

        assert shares(found) == pytest.approx([1])
        assert found.bins[0].low <= value <= found.bins[0].high


def test_bins_of_whole_numbers_are_not_finer_than_those() -> None:
    found = numbers([1.0, 2.0, 2.0, 3.0], is_whole=True)

    assert all(b.high - b.low >= 1 for b in found.bins)


def test_where_there_is_no_number_there_is_nothing() -> None:
    assert of_numbers("p", [math.nan, math.inf], [], is_whole=False) is None
    assert of_numbers("p", [], [1.0] * 51, is_whole=False) is None


@given(NUMBERS, st.just([]) | QUANTILES)
def test_every_number_has_a_bin_or_is_counted_as_left_out(
    values: list[float], trained: list[float]
) -> None:
    found = of_numbers("p", values, trained, is_whole=False)
    if found is None:
        return

    assert sum(shares(found)) * found.values == pytest.approx(found.values - found.left_out)
    assert 1 <= len(found.bins) <= 31
    assert all(b.low < b.high and 0 <= b.share <= 1 + 1e-9 for b in found.bins)
    assert sum(b.trained_share or 0 for b in found.bins) <= 1 + 1e-6


# --- classes


def test_classes_are_ordered_by_frequency_and_have_their_share_in_training() -> None:
    found = of_classes("prediction", ["b", "a", "b", "b"], {"a": 0.9, "c": 0.1})

    assert found is not None
    assert [(b.name, b.share, b.trained_share) for b in found.bins] == [
        ("b", 0.75, 0),
        ("a", 0.25, 0.9),
        ("c", 0, 0.1),
    ]


def test_without_a_training_there_are_no_shares_of_it() -> None:
    found = of_classes("prediction", ["a"], {})

    assert found is not None
    assert not found.has_training


def test_rare_classes_are_counted_together() -> None:
    names = [f"c{n:02}" for n in range(20) for _ in range(20 - n)]

    found = of_classes("prediction", names, {})

    assert found is not None
    assert len(found.bins) == MAX_CLASSES + 1
    assert found.bins[-1].name == "others (8)"
    assert sum(shares(found)) == pytest.approx(1)


def test_without_a_prediction_there_are_no_classes() -> None:
    assert of_classes("prediction", [], {"a": 1.0}) is None
