"""A header is checked against a signature, and all its problems are told at once."""

import pytest

from shared.errors import HeaderError
from tests.factories import make_feature, make_signature

AB = make_signature(make_feature("a"), make_feature("b"))


def problems(
    *header: str, carried: tuple[str, ...] = (), is_strict: bool = False
) -> list[tuple[str, str]]:
    """Code and column of all that is wrong with a header."""
    try:
        AB.check_header(header, carried=carried, is_strict=is_strict)
    except HeaderError as error:
        return [(code, column) for code, column, _ in error.problems]
    return []


def test_columns_may_come_in_any_order_and_with_others() -> None:
    assert problems("b", "note", "a") == []


def test_every_problem_is_told_at_once() -> None:
    found = problems("b", "b", "x", "x", carried=("key",), is_strict=True)

    assert found == [
        ("missing_column", "a"),
        ("missing_column", "key"),
        ("duplicate_column", "b"),
        ("unknown_column", "x"),
    ]


def test_a_column_that_nobody_needs_may_be_there_twice() -> None:
    assert problems("a", "b", "x", "x") == []
    assert problems("a", "b", "x", "x", carried=("x",)) == [("duplicate_column", "x")]


def test_a_carried_column_is_no_unknown_one() -> None:
    assert problems("a", "b", "key", carried=("key",), is_strict=True) == []


@pytest.mark.parametrize(
    ("header", "hint"), [("a;b", "%3B"), ("a\tb", "%09"), ("a|b", "%7C"), ("a,b", "%2C")]
)
def test_a_header_cut_at_the_wrong_character_gets_a_hint(header: str, hint: str) -> None:
    with pytest.raises(HeaderError, match=hint):
        AB.check_header([header], carried=(), is_strict=False)


def test_a_key_that_is_not_in_the_table_is_not_blamed_on_the_model() -> None:
    with pytest.raises(HeaderError) as alone:
        AB.check_header(["a", "b"], carried=("id",), is_strict=False)
    with pytest.raises(HeaderError) as beside_another:
        AB.check_header(["a"], carried=("id",), is_strict=False)

    told = "The key column 'id' is not in the table."
    assert str(alone.value) == f"The header does not fit what was asked for. {told}"
    assert str(beside_another.value) == (
        f"The header does not fit the model. Column 'b' is missing. {told}"
    )
