"""The form for one row is made of the signature."""

from api.pages.forms import RowForm, value_range
from shared.signature import Dtype, Feature, OutputColumn, OutputKind, Signature

AGE = Feature(name="age", dtype=Dtype.INT, minimum=18, maximum=123.5, example=45)
CITY = Feature(
    name="city, or town",
    dtype=Dtype.STRING,
    categories=("Bonn", "Kiel"),
    accepts_unseen=False,
    example="Bonn",
)
COLOUR = Feature(name="colour", dtype=Dtype.STRING, categories=("red",), nullable=True)
MEMBER = Feature(name="member", dtype=Dtype.BOOL, example=False)
PREDICTION = (OutputColumn(name="prediction", dtype=Dtype.FLOAT),)


def signature(*features: Feature) -> Signature:
    return Signature(features=features, outputs={OutputKind.PREDICT: PREDICTION})


def test_a_field_says_what_its_feature_takes() -> None:
    age, city, colour, member = RowForm.of(signature(AGE, CITY, COLOUR, MEMBER)).fields

    assert (age.is_number, age.is_required, age.example) == (True, True, "45")
    assert age.hint == "18 to 123.5 in training"
    assert (city.choices, city.suggestions) == (("Bonn", "Kiel"), ())
    assert (colour.choices, colour.suggestions, colour.is_required) == ((), ("red",), False)
    assert (member.choices, member.example) == (("true", "false"), "false")


def test_ids_are_unlike_names_fit_for_a_page() -> None:
    fields = RowForm.of(signature(CITY, AGE)).fields

    assert [field.id for field in fields] == ["feature-0", "feature-1"]


def test_a_filled_form_is_a_table_of_one_row() -> None:
    form = RowForm.of(signature(AGE, CITY), {"city, or town": ' Bonn "am" Rhein ', "other": "1"})

    assert form.csv() == b'age,"city, or town"\n,"Bonn ""am"" Rhein"\n'


def test_an_empty_form_of_one_field_is_no_blank_line() -> None:
    assert RowForm.of(signature(AGE)).csv() == b'age\n""\n'


def test_the_example_of_the_signature_fills_the_form() -> None:
    form = RowForm.example_of(signature(AGE, CITY, COLOUR, MEMBER))

    assert form.values == {"age": "45", "city, or town": "Bonn", "colour": "", "member": "false"}


def test_errors_stand_at_the_fields_they_are_about() -> None:
    form = RowForm.of(signature(AGE, CITY), {"age": "old"}).with_errors({"age": "No number."})

    assert [field.error for field in form.fields] == ["No number.", ""]
    assert form.fields[0].value == "old"
    assert form.fields[0].described_by == "feature-0-hint feature-0-error"


def test_a_range_is_told_of_what_has_one() -> None:
    assert value_range(CITY) == "Bonn, Kiel"
    assert value_range(MEMBER) == ""
