"""Where the marks of a drawing lie."""

import pytest

from api.pages.distributions import of_classes, of_numbers
from api.pages.plots import ClassBars, Histogram, drawn


def histogram(values: list[float], trained: list[float] | None = None) -> Histogram:
    found = of_numbers("prediction", values, trained or [], is_whole=False)
    assert found is not None
    drawing = drawn(found)
    assert isinstance(drawing, Histogram)
    return drawing


def test_bars_stand_on_the_axis_and_stay_within_the_drawing() -> None:
    drawing = histogram([float(n) for n in range(100)])

    for bar in drawing.bars:
        assert bar.y + bar.height == pytest.approx(drawing.bottom, abs=0.02)
        assert drawing.left <= bar.x <= bar.x + bar.width <= drawing.right
        assert bar.y >= 0


def test_a_bar_says_what_it_means() -> None:
    drawing = histogram([1.0, 1.0], [1.0] * 51)

    assert drawing.bars[0].text == "1 to 1.05: 100.0 %; 100.0 % in training"


def test_the_training_is_a_line_of_steps() -> None:
    drawing = histogram([0.0, 100.0], [2.0 * n for n in range(51)])

    assert len(drawing.outline.split()) == 2 * len(drawing.bars)
    assert histogram([0.0, 100.0]).outline == ""


def test_ticks_are_round_numbers_in_their_places() -> None:
    drawing = histogram([0.0, 100.0])

    assert [tick.label for tick in drawing.x_ticks] == ["0", "20", "40", "60", "80", "100"]
    assert drawing.x_ticks[0].at == drawing.left
    assert drawing.x_ticks[-1].at == drawing.right
    assert drawing.y_ticks[0].label == "0 %"


def test_the_longest_bar_of_classes_fills_the_width() -> None:
    found = of_classes("prediction", ["a"] * 3 + ["b"], {"a": 0.375, "b": 0.625})
    assert found is not None

    drawing = drawn(found)

    assert isinstance(drawing, ClassBars)
    first, second = drawing.rows
    assert first.bar.width == drawing.width
    assert second.bar.width == pytest.approx(drawing.width / 3, abs=0.01)
    assert first.trained_bar is not None
    assert first.trained_bar.width == drawing.width / 2
    assert drawing.height > second.trained_bar.y  # type: ignore[union-attr]


def test_long_names_of_classes_are_shortened() -> None:
    found = of_classes("prediction", ["x" * 100], {})
    assert found is not None

    drawing = drawn(found)

    assert isinstance(drawing, ClassBars)
    assert drawing.rows[0].name.endswith("…")
    assert len(drawing.rows[0].name) < 40
