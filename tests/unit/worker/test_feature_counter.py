"""What rows show of the features is counted right, in any cut, and a sample stands for the rest."""

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.chunks import ChunkPlan
from shared.feature_counts import NOTHING_SEEN, FeatureCounts, plain
from shared.signature import Signature
from shared.statistics import TrainingStatistics
from tests.factories import make_feature, make_signature, make_spec
from worker.feature_counter import SAMPLE_ROWS, Cells, FeatureCounter
from worker.table import TableReader
from worker.training_statistics import learn_statistics

SAMPLE = pd.DataFrame(
    {
        "age": [float(n) for n in range(101)],
        "city": ["Bonn"] * 50 + ["Kiel"] * 51,
        "child": [0, 1] * 50 + [0],
        "member": [True] * 100 + [False],
        "note": [f"note {n}" for n in range(101)],
    }
)
SIGNATURE = make_signature(
    make_feature("age", nullable=True, minimum=0.0, maximum=100.0),
    make_feature("city", "string", nullable=True, categories=("Bonn", "Kiel")),
    make_feature("child", "int64", minimum=0.0, maximum=1.0),
    make_feature("member", "bool", nullable=True),
    make_feature("note", "string", nullable=True),
)
STATISTICS = learn_statistics(SAMPLE, SIGNATURE)
HEADER = tuple(SAMPLE)


def counter(
    signature: Signature = SIGNATURE, statistics: TrainingStatistics | None = STATISTICS
) -> FeatureCounter:
    return FeatureCounter(signature, statistics)


def read(rows: list[tuple[str, ...]], signature: Signature = SIGNATURE) -> Cells:
    """The cells of a chunk with these rows."""
    data = "".join(",".join(row) + "\n" for row in rows).encode()
    plan = ChunkPlan(number=0, first_row=1, first_line=2, rows=len(rows))
    spec = make_spec(header=signature.feature_names)
    return TableReader(data, plan, spec=spec, signature=signature).read().read


AGES = ["", "0", "-1", "5.5", "10", "100", "100.1", "1e400", "-1e400"]
CITIES = ["", "Bonn", "Kiel", "Ulm"]
ROWS = st.tuples(
    st.sampled_from(AGES),
    st.sampled_from(CITIES),
    st.sampled_from(["", "0", "1", "2"]),
    st.sampled_from(["", "true", "FALSE", "1", "maybe"]),
    st.sampled_from(["", "anything"]),
)


def by_hand(rows: list[tuple[str, ...]]) -> dict[str, int]:
    """What a loop over the rows counts."""
    found: Counter[str] = Counter()
    for row in rows:
        found.update(f"{n}:missing" for n, cell in enumerate(row) if not cell)
        for number, most in ((0, 100), (2, 1)):
            if row[number]:
                value = float(row[number])
                found[f"{number}:below"] += value < 0
                found[f"{number}:above"] += value > most
                edges = STATISTICS.features[number].edges
                found[f"{number}:bin{sum(value > edge for edge in edges)}"] += 1
        if row[1]:
            found["1:unseen"] += row[1] == "Ulm"
            found[f"1:bin{['Kiel', 'Bonn', 'Ulm'].index(row[1])}"] += 1
        if row[3] not in ("", "maybe"):
            found[f"3:bin{['true', 'false'].index({'1': 'true'}.get(row[3], row[3].lower()))}"] += 1
    return {name: count for name, count in found.items() if count}


def without_bins(sums: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in sums.items() if "bin" not in name}


# --- what is counted


@given(st.lists(ROWS, min_size=1, max_size=40))
def test_cells_are_counted_as_a_loop_over_them_would(rows: list[tuple[str, ...]]) -> None:
    expected = by_hand(rows)

    whole = counter().count(read(rows), with_bins=True)
    brief = counter().count(read(rows), with_bins=False)

    assert whole == FeatureCounts(seen=len(rows), rows=len(rows), sums=expected)
    assert brief == FeatureCounts(seen=len(rows), rows=len(rows), sums=without_bins(expected))


@given(st.lists(ROWS, min_size=1, max_size=40), st.sets(st.integers(1, 39)), st.booleans())
def test_any_cut_of_the_rows_counts_the_same(
    rows: list[tuple[str, ...]],
    cuts: set[int],
    with_bins: bool,
) -> None:
    ends = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    parts = [
        counter().count(read(rows[first:behind]), with_bins=with_bins)
        for first, behind in pairwise(ends)
    ]

    whole = counter().count(read(rows), with_bins=with_bins)

    assert sum(parts, NOTHING_SEEN) == sum(parts[::-1], NOTHING_SEEN) == whole


@given(st.lists(st.lists(ROWS, min_size=1, max_size=6), min_size=1, max_size=8))
def test_each_of_several_jobs_gets_what_it_gets_alone(jobs: list[list[tuple[str, ...]]]) -> None:
    together = read([row for rows in jobs for row in rows])

    found = counter().count_each(together, [len(rows) for rows in jobs])

    assert found == [counter().count(read(rows), with_bins=False) for rows in jobs]


def test_among_several_jobs_one_with_many_rows_gets_bins() -> None:
    rows = [("5", "Bonn", "1", "true", "x")] * 600

    few, many = counter().count_each(read([*rows[:5], *rows]), [5, 600])

    assert few == plain(5)
    assert many == counter().count(read(rows), with_bins=True)
    assert many.sums["1:bin1"] == 600


def test_a_row_that_is_set_aside_is_counted_before() -> None:
    rows = [("5", "Bonn", "", "true", "x"), ("inf", "Bonn", "1", "true", "x")]

    counts = counter().count(read(rows), with_bins=False)

    assert counts == FeatureCounts(seen=2, rows=2, sums={"2:missing": 1, "0:above": 1})


def test_the_sample_itself_falls_into_the_bins_that_it_made() -> None:
    text = SAMPLE.astype(str).itertuples(index=False, name=None)

    counts = counter().count(read(list(text)), with_bins=True)

    shares = [count / 101 for count in counts.bins(0, 10)]
    assert shares == pytest.approx(STATISTICS.features[0].shares)
    assert without_bins(dict(counts.sums)) == {}


def test_a_model_without_statistics_has_no_bins() -> None:
    counts = counter(statistics=None).count(read([("-1", "Ulm", "1", "", "x")]), with_bins=True)

    assert counts.sums == {"0:below": 1, "1:unseen": 1, "3:missing": 1}


@pytest.mark.parametrize("with_bins", [True, False])
def test_a_model_of_texts_alone_is_counted(*, with_bins: bool) -> None:
    signature = make_signature(make_feature("city", "string", categories=("Bonn",)))

    counts = counter(signature, None).count(
        read([("Bonn",), ("Ulm",)], signature), with_bins=with_bins
    )

    assert counts == FeatureCounts(seen=2, rows=2, sums={"0:unseen": 1})


def test_no_rows_show_nothing() -> None:
    cells = read([("1", "Bonn", "1", "maybe", "x")])

    assert counter().count(cells.part(0, 0), with_bins=True) == NOTHING_SEEN
    assert counter().count(cells.part(0, 0), with_bins=False).dump() == ""


# --- samples and wide models


def numbers(rows: int, features: int = 1, **values: Any) -> tuple[FeatureCounter, Cells]:
    names = [f"f{n}" for n in range(features)]
    signature = make_signature(*[make_feature(n, minimum=0.0, maximum=1.0) for n in names])
    table = pd.DataFrame(np.random.default_rng(1).random((rows, features)), columns=names)
    table = table.assign(**values)
    statistics = learn_statistics(table, signature)
    return FeatureCounter(signature, statistics), Cells(numbers=table.to_numpy(), table=table)


@pytest.mark.parametrize("rows", [1, 999, 1000, 1999, 2000, 2001, 40_000, 123_457])
def test_of_many_rows_a_thousand_and_more_stand_for_all(rows: int) -> None:
    feature_counter, cells = numbers(rows)

    counts = feature_counter.count(cells, with_bins=True)

    assert min(rows, SAMPLE_ROWS) <= counts.seen <= max(2 * SAMPLE_ROWS, SAMPLE_ROWS)
    assert rows <= counts.rows < rows * 1.01 + 1
    assert sum(counts.bins(0, 10)) == counts.rows
    assert counts == feature_counter.count(cells, with_bins=True)


def test_a_sample_shows_the_shares_of_all() -> None:
    x = np.random.default_rng(2).random(50_000) * 1.25
    feature_counter, cells = numbers(50_000, f0=x)
    signature_of_half = make_signature(make_feature("f0", minimum=0.0, maximum=1.0))
    feature_counter = FeatureCounter(signature_of_half, None)

    counts = feature_counter.count(cells, with_bins=True)

    assert counts.share(0, "above") == pytest.approx(0.2, abs=0.05)


def test_a_sample_of_rows_in_an_order_that_repeats_shows_all_of_them() -> None:
    period = np.arange(50_000) % 50
    _, cells = numbers(50_000, f0=np.where(period < 10, 2.0, 0.5))
    feature_counter = FeatureCounter(
        make_signature(make_feature("f0", minimum=0.0, maximum=1.0)), None
    )

    counts = feature_counter.count(cells, with_bins=True)

    assert counts.share(0, "above") == pytest.approx(0.2, abs=0.05)


def test_of_a_wide_table_fewer_rows_but_enough_for_a_psi() -> None:
    feature_counter, cells = numbers(3000, features=300)

    counts = feature_counter.count(cells, with_bins=True)

    assert 500 <= counts.seen < 1000
    assert {int(name.split(":")[0]) for name in counts.sums} == set(range(256))
