"""The tree of errors is the one that is drawn, and every error has its code and its status."""

import re
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from api import problems
from shared import errors
from shared.errors import RowmillError

DRAWN = re.compile(r"[├└]── (?P<name>\w+Error)(?: +(?P<code>[a-z_]+)(?=\n|  ))?")

NEVER_ANSWERS = {
    errors.JobEndedError,
    errors.PublishError,
    errors.ModelLoadError,
    errors.ExampleError,
    errors.ShadowGivenUpError,
    errors.KeyNotFoundError,
    errors.NoApiKeyError,
}
"""Raised where no caller waits: while a cancelled job's body arrives, on publishing, in workers."""


def descendants(cls: type[RowmillError]) -> Iterator[type[RowmillError]]:
    for child in cls.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from descendants(child)


def has_code(cls: type[RowmillError]) -> bool:
    return "code" in vars(cls) and cls is not errors.InputError


CONCRETE = [cls for cls in descendants(RowmillError) if has_code(cls)]
# Those of the local stack, if another test has imported it, are none of the service.
FAMILIES = [cls for cls in RowmillError.__subclasses__() if cls.__module__ == errors.__name__]


def drawing() -> dict[str, str | None]:
    """Class → code, as drawn at the top of the module."""
    return {match["name"]: match["code"] for match in DRAWN.finditer(errors.__doc__ or "")}


def test_every_error_is_drawn_with_its_code_and_nothing_else_is() -> None:
    expected = {cls.__name__: None for cls in FAMILIES} | {c.__name__: c.code for c in CONCRETE}

    assert drawing() == expected


def test_no_two_errors_share_a_code() -> None:
    codes = [cls.code for cls in CONCRETE]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("cls", [c for c in descendants(RowmillError) if c not in FAMILIES])
def test_every_error_says_more_than_that_of_its_family(cls: type[RowmillError]) -> None:
    assert cls.code not in {RowmillError.code, errors.InputError.code}
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", cls.code)
    assert cls.__name__.endswith("Error")


@pytest.mark.parametrize("cls", [cls for cls in CONCRETE if cls not in NEVER_ANSWERS])
def test_every_error_that_can_be_an_answer_has_a_status(cls: type[RowmillError]) -> None:
    status = problems.status_of(cls.__new__(cls))

    assert any(base in problems.STATUSES for base in cls.__mro__)
    assert status in HTTPStatus
    assert status >= HTTPStatus.BAD_REQUEST


def test_no_status_is_given_to_what_is_no_error_of_ours() -> None:
    assert set(problems.STATUSES) <= {RowmillError, *descendants(RowmillError)}
