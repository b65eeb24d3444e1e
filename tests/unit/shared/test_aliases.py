"""Which alias a job gets, and what a file of aliases may hold."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.aliases import Aliases, position
from shared.jobs import new_job_id

CANARY = Aliases.model_validate({"champion": "3", "canary": {"version": "4", "weight": 0.05}})


def test_a_canary_gets_its_share_of_four_thousand_jobs() -> None:
    chosen = Counter(CANARY.choose(f"job_{number:032x}") for number in range(4_000))

    assert chosen["canary"] / 4_000 == pytest.approx(0.05, abs=0.01)
    assert chosen.keys() == {"canary", "champion"}


def test_the_ids_of_one_moment_are_spread_as_evenly() -> None:
    chosen = Counter(CANARY.choose(new_job_id()) for _ in range(4_000))

    # Five standard deviations: once in two million runs.
    assert chosen["canary"] / 4_000 == pytest.approx(0.05, abs=0.0173)


@given(st.text())
def test_the_same_id_gets_the_same_alias_every_time(job_id: str) -> None:
    assert CANARY.choose(job_id) == CANARY.choose(job_id)
    assert 0 <= position(job_id) < 1


@pytest.mark.parametrize(
    ("document", "chosen"),
    [
        ({}, {None}),
        ({"old": "1"}, {None}),
        ({"champion": "1", "old": "2"}, {"champion"}),
        ({"champion": {"version": "1", "weight": 0.95}}, {"champion"}),
        ({"canary": {"version": "1", "weight": 0.5}}, {"canary", None}),
        ({"a": {"version": "1", "weight": 0.5}, "b": {"version": "2", "weight": 0.5}}, {"a", "b"}),
        ({"champion": "1", "new": {"version": "2", "shadow": True}}, {"champion"}),
    ],
)
def test_what_no_weight_takes_goes_to_the_champion_or_the_newest_version(
    document: dict[str, Any], chosen: set[str | None]
) -> None:
    aliases = Aliases.model_validate(document)

    assert {aliases.choose(f"job_{number}") for number in range(100)} == chosen


def test_aliases_are_written_as_they_are_read() -> None:
    document = {
        "champion": "3",
        "canary": {"version": "4", "weight": 0.05},
        "challenger": {"version": "5", "shadow": True},
    }

    aliases = Aliases.model_validate(document)

    assert json.loads(aliases.model_dump_json()) == document
    assert (aliases.of("4"), aliases.of("9")) == (["canary"], [])
    assert (found := aliases.shadow()) is not None
    assert found.version == "5"


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"champion": 3},
        {"champion": "three"},
        {"champion": "../3"},
        {"Champion": "3"},
        {"a/b": "3"},
        {"a": {"version": "1", "weight": 0}},
        {"a": {"version": "1", "weight": 1.1}},
        {"a": {"version": "1", "surprise": 1}},
        {"a": {"version": "1", "weight": 0.1, "shadow": True}},
        {"a": {"version": "1", "weight": 0.6}, "b": {"version": "2", "weight": 0.6}},
        {"a": {"version": "1", "shadow": True}, "b": {"version": "2", "shadow": True}},
    ],
)
def test_what_makes_no_sense_is_refused(document: Any) -> None:
    with pytest.raises(ValidationError):
        Aliases.model_validate(document)


@pytest.mark.parametrize(
    ("document", "unclaimed"),
    [
        ({}, ["1", "2", "3"]),
        ({"champion": {"version": "3", "weight": 0.9}, "old": "1"}, ["1", "2", "3"]),
        ({"new": {"version": "3", "shadow": True}}, ["1", "2"]),
        ({"canary": {"version": "3", "weight": 0.1}}, ["1", "2"]),
        (
            {
                "a": {"version": "1", "weight": 0.1},
                "b": {"version": "2", "weight": 0.1},
                "c": {"version": "3", "shadow": True},
            },
            ["1", "2", "3"],
        ),
    ],
)
def test_what_is_about_to_be_tried_out_is_not_what_the_name_alone_means(
    document: dict[str, Any], unclaimed: list[str]
) -> None:
    assert Aliases.model_validate(document).unclaimed(["1", "2", "3"]) == unclaimed
