"""Numbers and times as people read them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from api.pages import formats
from shared.signature import Dtype


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3.0, "3"),
        (12_345_678, "12,345,678"),
        (12_345.678, "12,346"),
        (538.09, "538.1"),
        (3.14159, "3.142"),
        (0.5, "0.5"),
        (0.00012345, "0.0001234"),
        (-0.02879, "−0.02879"),
        (1.2344e-7, "1.234e-07"),
        (1.5e20, "1.5e+20"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
    ],
)
def test_a_number_has_as_many_digits_as_people_read(value: float, text: str) -> None:
    assert formats.number(value) == text


def test_code_in_a_sentence_is_code_and_nothing_else_is_markup() -> None:
    text = formats.with_code("Use `a<b`, not <b>that</b>.")

    assert text == "Use <code>a&lt;b</code>, not &lt;b&gt;that&lt;/b&gt;."


@pytest.mark.parametrize(
    ("text", "dtype", "shown"),
    [
        ("538.09", Dtype.FLOAT, "538.09"),
        ("-69316.0", Dtype.FLOAT, "−69,316"),
        ("-0.9970839179196652", Dtype.FLOAT, "−0.9971"),
        ("1e-05", Dtype.FLOAT, "1e−05"),
        ("nan", Dtype.FLOAT, "nan"),
        ("", Dtype.FLOAT, ""),
        ("0012345678901", Dtype.STRING, "0012345678901"),
        ("20260101123059", Dtype.INT, "20260101123059"),
    ],
)
def test_only_predicted_numbers_are_shortened_and_not_the_digits_of_a_key(
    text: str, dtype: Dtype, shown: str
) -> None:
    assert formats.cell(text, dtype) == shown


@pytest.mark.parametrize(
    ("value", "beside", "text"),
    [(6, 6, "+6.000"), (-0.002, 0.9, "−0.0020"), (12, 12_345, "+12"), (2e-9, 5e-9, "+2.000e−09")],
)
def test_numbers_that_are_added_have_the_decimals_of_the_largest(
    value: float, beside: float, text: str
) -> None:
    assert formats.signed(value, beside=beside) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1500, "1.5 kB"),
        (2_000_000, "2 MB"),
        (3e12, "3.0 TB"),
    ],
)
def test_sizes_have_units(value: float, text: str) -> None:
    assert formats.size(value) == text


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-26T10:00:59Z",
        int(datetime(2026, 11, 26, 10, 0, 59, tzinfo=UTC).timestamp() * 1000),
        datetime(2026, 11, 26, 12, 0, 59, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_a_time_is_told_to_people_and_machines(value: str | int | datetime) -> None:
    assert formats.moment(value) == (
        '<time datetime="2026-11-26T10:00:59.000Z">2026-11-26 10:00 UTC</time>'
    )
