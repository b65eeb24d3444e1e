"""The reference of the Python client has what the code has."""

import inspect
import re

import pytest

from rowmill import errors
from rowmill.client import Client
from rowmill.formats import SUFFIXES
from rowmill.handles import JobHandle
from rowmill.submission import JobOptions
from tests.contract.documents import DOCS, names

PAGE = DOCS / "reference/python-client.md"


def public_names(cls: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(cls) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("heading", "cls", "beside"), [("Client", Client, {"close"}), ("JobHandle", JobHandle, set())]
)
def test_every_method_is_in_the_reference(heading: str, cls: type, beside: set[str]) -> None:
    documented = {name.partition("(")[0] for name in names(PAGE, heading)}
    attributes = {"job"} if cls is JobHandle else set()

    assert documented == public_names(cls) - beside | attributes


@pytest.mark.parametrize(("heading", "cls"), [("Client", Client), ("JobHandle", JobHandle)])
def test_every_parameter_that_is_documented_is_there(heading: str, cls: type) -> None:
    for call in names(PAGE, heading):
        name, _, arguments = call.partition("(")
        if arguments:
            known = set(inspect.signature(getattr(cls, name)).parameters)
            known |= {"model"} if name == "submit" else set()
            assert set(re.findall(r"\b([a-z_]+)\b(?=[,=)])", arguments)) <= known, call


def test_every_error_is_in_the_reference() -> None:
    classes = {
        name
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.RowmillError) and cls is not errors.RowmillError
    }

    assert set(names(PAGE, "Errors")) == classes


def test_every_option_and_suffix_is_in_the_reference() -> None:
    text = PAGE.read_text()

    for name in (*JobOptions.__annotations__, *SUFFIXES):
        assert f"`{name}`" in text, name
