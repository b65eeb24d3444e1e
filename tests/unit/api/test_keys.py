"""What may be said of a new API key."""

import click
import pytest

from api.keys import Duration, KeyName


@pytest.mark.parametrize("name", ["night shift", "Ünal's laptop", "a" * 100])
def test_a_name_is_what_people_write(name: str) -> None:
    assert KeyName().convert(name, None, None) == name


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "\x1b[2Jred", "\udcff", "a" * 101])
def test_a_name_that_would_spoil_a_list_or_a_log_is_none(name: str) -> None:
    with pytest.raises(click.BadParameter, match="printable"):
        KeyName().convert(name, None, None)


@pytest.mark.parametrize(("text", "seconds"), [("90d", 7_776_000), ("12h", 43_200), ("5s", 5)])
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: int) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["36501d", "999999999d", "0d", "1w", "-1d", "1.5h", ""])
def test_a_duration_ends_within_a_lifetime(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)
