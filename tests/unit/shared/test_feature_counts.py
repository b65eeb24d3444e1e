"""What is counted of rows may be added in any order and any parts."""

from functools import reduce
from operator import add

from hypothesis import given
from hypothesis import strategies as st

from shared.feature_counts import NOTHING_SEEN, FeatureCounts, plain

NAMES = st.sampled_from(["0:missing", "0:bin3", "12:unseen"])
COUNTS = st.builds(
    FeatureCounts,
    seen=st.integers(0, 100),
    rows=st.integers(0, 1000),
    sums=st.dictionaries(NAMES, st.integers(1, 100)),
)


@given(st.lists(COUNTS), st.randoms())
def test_the_order_does_not_matter(counts: list[FeatureCounts], random: object) -> None:
    shuffled = list(counts)
    random.shuffle(shuffled)

    assert reduce(add, shuffled, NOTHING_SEEN) == reduce(add, counts, NOTHING_SEEN)


@given(COUNTS, COUNTS, COUNTS)
def test_neither_do_parts_of_parts(
    one: FeatureCounts, two: FeatureCounts, three: FeatureCounts
) -> None:
    assert (one + two) + three == one + (two + three)
    assert one + NOTHING_SEEN == NOTHING_SEEN + one == one


def test_shares_are_those_of_the_rows_that_were_seen() -> None:
    counts = FeatureCounts(seen=10, rows=40, sums={"1:missing": 10, "1:bin0": 20})

    assert counts.share(1, "missing") == 0.25
    assert counts.share(0, "missing") == NOTHING_SEEN.share(1, "missing") == 0
    assert counts.bins(1, 2) == [20, 0]


def test_rows_that_show_nothing_are_written_short() -> None:
    assert plain(5).dump() == "seen 5 rows 5"
    assert NOTHING_SEEN.dump() == ""
