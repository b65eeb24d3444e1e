"""What a job's rows show is compared with training, and warned of where it matters."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import drift
from shared.drift import FeatureDrift, is_beyond_chance, psi, psi_of_chance
from shared.feature_counts import FeatureCounts, plain
from shared.signature import Feature
from shared.statistics import FeatureStatistics, TrainingStatistics
from tests.factories import make_feature, make_signature

DECILES = tuple(float(n) for n in range(11))
TENTHS = (0.1,) * 10
NUMBER = make_feature("age", minimum=0.0, maximum=10.0)
TEXT = make_feature("city", "string", categories=("Bonn", "Kiel"))

SHARES = st.lists(st.integers(0, 20), min_size=2, max_size=12).filter(sum)


def trained(rows: int = 10_000, **changes: Any) -> TrainingStatistics:
    """Statistics of one feature, by default one of numbers from 0 to 10."""
    defaults: dict[str, Any] = {"missing": 0.0, "quantiles": DECILES, "shares": TENTHS}
    return TrainingStatistics(rows=rows, features=(FeatureStatistics(**defaults | changes),))


def counted(rows: int = 1000, *, bins: tuple[int, ...] = (), **sums: int) -> FeatureCounts:
    """What so many rows show of the only feature."""
    binned = {f"0:bin{number}": count for number, count in enumerate(bins)}
    named = {f"0:{what}": count for what, count in sums.items()}
    return FeatureCounts(seen=rows, rows=rows, sums=named | binned)


def compared(
    counts: FeatureCounts, feature: Feature = NUMBER, statistics: TrainingStatistics | None = None
) -> FeatureDrift:
    (found,) = drift.compare(counts, make_signature(feature), statistics or trained())
    return found


def warned(
    counts: FeatureCounts, feature: Feature = NUMBER, statistics: TrainingStatistics | None = None
) -> list[str]:
    return drift.warnings(counts, make_signature(feature), statistics or trained())


# --- the measure


def test_the_psi_is_what_its_formula_gives_by_hand() -> None:
    by_hand = (0.3 - 0.5) * math.log(0.3 / 0.5) + (0.7 - 0.5) * math.log(0.7 / 0.5)

    assert psi((0.5, 0.5), (0.3, 0.7)) == pytest.approx(by_hand) == pytest.approx(0.16946, abs=1e-5)


def test_an_empty_bin_counts_as_nearly_empty() -> None:
    assert psi((0.5, 0.5), (0.0, 1.0)) == pytest.approx(
        (0.0001 - 0.5) * math.log(0.0001 / 0.5) + 0.5 * math.log(2)
    )


@given(SHARES)
def test_what_has_not_changed_has_no_psi_and_all_else_has_one(counts: list[int]) -> None:
    shares = [count / sum(counts) for count in counts]

    assert psi(shares, shares) == 0
    assert psi(shares, shares[::-1]) >= 0


def test_chance_is_taken_from_a_known_distribution() -> None:
    # The quantile 0.9999 of chi-squared with 9 degrees of freedom is 33.72.
    assert psi_of_chance(10, sample_rows=1000, rows=1000) == pytest.approx(0.0674, rel=0.02)


@pytest.mark.parametrize(
    ("share", "rows", "expected", "is_rare"),
    [
        (0.5, 100, 0.5, False),
        (0.2, 5, 0.002, False),
        (0.4, 5, 0.001, True),
        (1.0, 1, 0.001, False),
        (1.0, 3, 0.001, True),
        (1.0, 1, 0.0, True),
        (0.12, 100, 0.1, False),
        (0.12, 100_000, 0.1, True),
    ],
)
def test_a_few_rows_must_show_more_than_many(
    share: float, rows: int, expected: float, *, is_rare: bool
) -> None:
    assert is_beyond_chance(share, rows=rows, expected=expected) == is_rare


# --- one feature


def test_a_feature_shows_its_shares_and_what_training_had() -> None:
    found = compared(
        counted(1000, missing=100, below=20, above=30, bins=(90,) * 10),
        statistics=trained(missing=0.05),
    )

    assert (found.name, found.missing, found.missing_in_training) == ("age", 0.1, 0.05)
    assert (found.outside, found.unseen, found.psi) == (0.05, None, 0.0)


def test_texts_have_unseen_ones_and_a_psi_over_categories_and_all_others() -> None:
    statistics = trained(quantiles=(), shares=(), categories={"Bonn": 0.5, "Kiel": 0.5})

    found = compared(counted(1000, unseen=10, bins=(500, 490, 10)), TEXT, statistics)

    assert (found.outside, found.unseen) == (None, 0.01)
    assert found.psi == pytest.approx(psi((0.5, 0.5, 0.0), (0.5, 0.49, 0.01)))


def test_few_rows_have_no_psi() -> None:
    assert compared(counted(499, bins=(499,) + (0,) * 9)).psi is None
    assert compared(counted(500, bins=(500,) + (0,) * 9)).psi is not None
    assert compared(plain(5000)).psi is None


def test_rows_that_others_stand_for_do_not_count_as_seen() -> None:
    bins = (40_000,) + (0,) * 9
    sums = {f"0:bin{number}": count for number, count in enumerate(bins)}

    assert compared(FeatureCounts(seen=100, rows=40_000, sums=sums)).psi is None


def test_without_statistics_there_are_shares_and_warnings_of_bounds_alone() -> None:
    counts = counted(1000, missing=500, above=400)

    (found,) = drift.compare(counts, make_signature(NUMBER), None)
    (warning,) = drift.warnings(counts, make_signature(NUMBER), None)

    assert (found.missing, found.missing_in_training, found.outside) == (0.5, None, 0.4)
    assert found.psi is None
    assert "outside" in warning


# --- warnings


def test_rows_like_those_of_training_are_not_warned_of() -> None:
    assert warned(plain(1000)) == []
    assert warned(counted(1000, above=1, missing=3, bins=(104, 96, *[100] * 8))) == []


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (counted(100, above=12), "12 % of the rows lie outside of what the model was trained on"),
        (counted(100, below=5, above=1), "(0 to 10)"),
        (counted(100, missing=40), "is missing in 40 % of the rows; in training it was in 0 %"),
        (counted(1000, bins=(400, 200, *[50] * 8)), "population stability index is 0.76"),
    ],
)
def test_a_finding_is_one_sentence_that_names_the_column(counts: FeatureCounts, words: str) -> None:
    (warning,) = warned(counts)

    assert warning.startswith("Column 'age'")
    assert words in warning


@pytest.mark.parametrize(("sample_rows", "is_expected"), [(150, True), (250, False)])
def test_new_texts_are_what_to_expect_of_free_text(sample_rows: int, *, is_expected: bool) -> None:
    notes = make_feature("note", "string", categories=tuple(f"text {n}" for n in range(100)))

    found = warned(counted(1000, unseen=900), notes, trained(sample_rows))

    assert (found == []) is is_expected


def test_one_text_that_training_never_had_is_enough() -> None:
    (warning,) = warned(counted(1000, unseen=1), TEXT)

    assert "Column 'city': 0.1 % of the rows hold a text" in warning


@pytest.mark.parametrize(
    "counts",
    [
        counted(1000, above=50),
        counted(1000, missing=140),
        counted(5, above=1),
        counted(1, missing=1),
        counted(1000, bins=(200, *[89] * 9)),
    ],
)
def test_what_is_small_or_may_be_chance_is_not_warned_of(counts: FeatureCounts) -> None:
    assert warned(counts, statistics=trained(rows=1000, missing=0.05)) == []


def test_a_model_of_few_rows_is_no_measure() -> None:
    counts = counted(500, above=4, bins=(30, 40, 50, 60, 70, 60, 60, 50, 40, 40))

    assert warned(counted(2, above=2), statistics=trained(rows=5)) == []
    assert warned(counts, statistics=trained(rows=20)) == []


def test_a_shift_that_lies_outside_is_told_once() -> None:
    counts = counted(1000, above=900, bins=(0,) * 9 + (1000,))

    (warning,) = warned(counts)

    assert compared(counts).psi > 1
    assert "outside" in warning


def test_the_worst_comes_first_and_the_rest_is_counted() -> None:
    features = [make_feature(f"f{n}", minimum=0.0, maximum=1.0) for n in range(30)]
    sums = {f"{number}:above": 100 + number for number in range(30)}
    counts = FeatureCounts(seen=1000, rows=1000, sums=sums)

    texts = drift.warnings(counts, make_signature(*features), None)

    assert len(texts) == 21
    assert "'f29': 12.9 %" in texts[0]
    assert texts[-1].startswith("And 10 more")


def test_only_the_first_features_of_a_wide_model_are_compared() -> None:
    features = [make_feature(f"f{n}", minimum=0.0, maximum=1.0) for n in range(300)]

    found = drift.compare(plain(10), make_signature(*features), None)

    assert [feature.name for feature in found] == [f"f{n}" for n in range(256)]
