"""Whatever rows kill their process are found, only these, and after few deaths."""

import math
from collections.abc import Callable, Collection
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.suspicion import (
    STRIKES,
    STRIKES_OF_ANY_KIND,
    WAYS,
    LossReason,
    LostAttempt,
    Rows,
    Suspicion,
    parse_losses,
)

SIZES = st.integers(1, 5000)


def died(first: int, behind: int) -> LostAttempt:
    return LostAttempt(reason=LossReason.DIED, rows=Rows(first=first, behind=behind))


def lost(reason: LossReason, first: int, behind: int) -> LostAttempt:
    return LostAttempt(reason=reason, rows=Rows(first=first, behind=behind))


# --- rows


@given(first=st.integers(0, 10**6), rows=st.integers(1, 10**6))
def test_parts_of_rows_cover_them_in_order_and_are_of_about_the_same_size(
    first: int, rows: int
) -> None:
    parts = Rows(first=first, behind=first + rows).split()

    assert len(parts) == min(WAYS, rows)
    assert [parts[0].first, parts[-1].behind] == [first, first + rows]
    assert all(a.behind == b.first for a, b in pairwise(parts))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1


@given(first=st.integers(0, 10**9), rows=st.integers(0, 10**9))
def test_rows_read_back_from_their_text(first: int, rows: int) -> None:
    found = Rows(first=first, behind=first + rows)

    assert Rows.parse(str(found)) == found


def test_losses_read_back_as_the_store_notes_them() -> None:
    assert parse_losses("") == []
    assert parse_losses("died 0-10\nvanished \noverdue 3-4\n") == [
        died(0, 10),
        LostAttempt(reason=LossReason.VANISHED, rows=None),
        lost(LossReason.OVERDUE, 3, 4),
    ]


# --- which parts to score


def test_a_chunk_that_lost_nothing_is_scored_at_once() -> None:
    assert list(Suspicion(100, []).parts()) == [Rows(first=0, behind=100)]


@pytest.mark.parametrize("reason", LossReason)
def test_rows_under_suspicion_are_scored_in_parts(reason: LossReason) -> None:
    parts = list(Suspicion(160, [lost(reason, 0, 160)]).parts())

    assert [len(part) for part in parts] == [10] * WAYS


def test_only_the_part_that_was_being_scored_is_cut_again() -> None:
    parts = list(Suspicion(160, [died(0, 160), died(20, 30)]).parts())

    assert [len(part) for part in parts] == [10, 10, *[1] * 10, *[10] * 13]


def test_an_attempt_that_was_scoring_nothing_casts_no_suspicion() -> None:
    nothing = LostAttempt(reason=LossReason.DIED, rows=None)

    assert list(Suspicion(100, [nothing] * 9).parts()) == [Rows(first=0, behind=100)]


@given(rows=SIZES, data=st.data())
def test_parts_cover_every_row_once_whatever_was_lost(rows: int, data: st.DataObject) -> None:
    """Losses are of parts that were being scored, each under the suspicion of its time."""
    losses: list[LostAttempt] = []
    for _ in range(data.draw(st.integers(0, 12))):
        parts = list(Suspicion(rows, losses).parts())
        part = data.draw(st.sampled_from(parts) | st.none())
        losses.append(LostAttempt(reason=data.draw(st.sampled_from(LossReason)), rows=part))

    parts = list(Suspicion(rows, losses).parts())

    assert_covered(parts, rows)


@given(
    rows=SIZES,
    losses=st.lists(
        st.builds(lost, st.sampled_from(LossReason), st.integers(0, 5000), st.integers(0, 5000))
    ),
)
def test_parts_cover_every_row_once_even_after_losses_that_make_no_sense(
    rows: int, losses: list[LostAttempt]
) -> None:
    assert_covered(list(Suspicion(rows, losses).parts()), rows)


def assert_covered(parts: list[Rows], rows: int) -> None:
    assert parts[0].first == 0
    assert parts[-1].behind == rows
    assert all(a.behind == b.first for a, b in pairwise(parts))
    assert all(len(part) for part in parts)


# --- who is guilty


def test_a_row_is_guilty_at_its_second_death_alone() -> None:
    row = Rows(first=4, behind=5)

    for deaths in range(4):
        losses = [died(0, 10), *[died(4, 5)] * deaths]
        assert Suspicion(10, losses).is_guilty(row) == (deaths >= STRIKES)


@pytest.mark.parametrize("reason", [LossReason.VANISHED, LossReason.OVERDUE])
def test_a_row_whose_process_may_be_innocent_is_given_more_tries(reason: LossReason) -> None:
    for times in range(6):
        losses = [lost(reason, 4, 5)] * times
        is_guilty = Suspicion(10, losses).is_guilty(Rows(first=4, behind=5))
        assert is_guilty == (times >= STRIKES_OF_ANY_KIND)


def test_several_rows_together_are_never_guilty() -> None:
    losses = [died(0, 10)] * 99

    assert not Suspicion(10, losses).is_guilty(Rows(first=0, behind=10))


def test_a_chunk_of_one_row_is_guilty_after_as_many_deaths_as_any_row() -> None:
    assert not Suspicion(1, [died(0, 1)]).is_guilty(Rows(first=0, behind=1))
    assert Suspicion(1, [died(0, 1)] * 2).is_guilty(Rows(first=0, behind=1))


# --- the search


class Search:
    """Attempts on a chunk, one after the other, as `ChunkRunner` makes them."""

    def __init__(self, rows: int, *, dies_at: Callable[[Rows], LossReason | None]) -> None:
        self._rows = rows
        self._dies_at = dies_at
        self._done: set[Rows] = set()
        self.losses: list[LostAttempt] = []
        self.scored: list[int] = []
        self.condemned: list[int] = []

    def run(self, *, most_losses: int) -> None:
        while not self._attempt():
            assert len(self.losses) <= most_losses

    def _attempt(self) -> bool:
        """Whether the attempt came to the end of the chunk."""
        if not self.losses:
            return self._score(Rows(first=0, behind=self._rows))
        suspicion = Suspicion(self._rows, self.losses)
        for part in suspicion.parts():
            if suspicion.is_guilty(part):
                if part.first not in self.condemned:
                    self.condemned.append(part.first)
            elif part not in self._done and not self._score(part):
                return False
        return True

    def _score(self, part: Rows) -> bool:
        if reason := self._dies_at(part):
            self.losses.append(LostAttempt(reason=reason, rows=part))
            return False
        self._done.add(part)
        self.scored += range(part.first, part.behind)
        return True


def killed_by(poison: Collection[int]) -> Callable[[Rows], LossReason | None]:
    def dies_at(part: Rows) -> LossReason | None:
        is_deadly = any(part.first <= row < part.behind for row in poison)
        return LossReason.DIED if is_deadly else None

    return dies_at


def most_deaths(rows: int, poison: int) -> int:
    """A death at each level of the tree and at the whole for a row, one more for the row itself."""
    levels = math.ceil(math.log(rows, WAYS) + 1e-9) if rows > 1 else 0
    return poison * (levels + STRIKES)


@given(rows=SIZES, data=st.data())
def test_all_poison_is_found_and_nothing_else_within_a_bounded_number_of_deaths(
    rows: int, data: st.DataObject
) -> None:
    poison = data.draw(st.sets(st.integers(0, rows - 1), max_size=6))
    search = Search(rows, dies_at=killed_by(poison))

    search.run(most_losses=most_deaths(rows, len(poison)))

    assert set(search.condemned) == poison
    assert sorted(search.scored) == sorted(set(range(rows)) - poison)


@pytest.mark.parametrize(("rows", "deaths"), [(1, 2), (16, 3), (256, 4), (10_000, 6)])
def test_a_single_row_is_found_after_so_many_deaths(rows: int, deaths: int) -> None:
    search = Search(rows, dies_at=killed_by({rows * 2 // 3}))

    search.run(most_losses=deaths)

    assert len(search.losses) == deaths
    assert search.condemned == [rows * 2 // 3]
    assert len(search.scored) == rows - 1


@given(rows=st.integers(1, 2000), seed=st.randoms(use_true_random=False), losses=st.integers(1, 3))
def test_no_row_is_condemned_for_machines_that_vanish_a_few_times(
    rows: int, seed: object, losses: int
) -> None:
    left = losses

    def dies_at(_part: Rows) -> LossReason | None:
        nonlocal left
        if left and seed.random() < 0.3:  # type: ignore[attr-defined]
            left -= 1
            return LossReason.VANISHED
        return None

    search = Search(rows, dies_at=dies_at)

    search.run(most_losses=losses)

    assert search.condemned == []
    assert sorted(search.scored) == list(range(rows))


def test_a_row_that_dies_once_by_accident_is_scored_in_the_end() -> None:
    accidents = iter([LossReason.DIED])

    search = Search(1, dies_at=lambda _part: next(accidents, None))
    search.run(most_losses=1)

    assert (search.condemned, search.scored) == ([], [0])
