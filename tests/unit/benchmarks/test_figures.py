import pytest

from benchmarks.acceptance import Line
from benchmarks.figures import Measurement, Measurements, Spread, latency_figures


def measured(seconds: dict[str, list[float]]) -> Measurements:
    """Turns of W1 with M1: seconds by contender and round."""
    return Measurements(
        [
            Measurement(
                workload="w1", model="m1", contender=name, round=number, figures={"seconds": value}
            )
            for name, values in seconds.items()
            for number, value in enumerate(values)
        ]
    )


def test_a_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    found = measured({"rowmill": [1.0, 4.0, 3.0], "limit-2": [1.0, 1.0, 2.0]})

    ratio = found.ratio("w1", "m1", ("rowmill", "limit-2"), "seconds")

    assert ratio == Spread(1.5, 1.0, 4.0)


def test_rounds_that_only_one_of_both_took_part_in_do_not_count() -> None:
    found = measured({"rowmill": [1.0, 4.0], "limit-2": [2.0]})

    assert found.ratio("w1", "m1", ("rowmill", "limit-2"), "seconds") == Spread(0.5, 0.5, 0.5)


def test_what_was_not_measured_has_no_figure() -> None:
    found = measured({"rowmill": [1.0]})

    assert found.spread("w1", "m2", "rowmill", "seconds") is None
    assert found.ratio("w1", "m1", ("rowmill", "limit-2"), "seconds") is None


def test_percentiles_are_in_milliseconds() -> None:
    figures = latency_figures([number / 1000 for number in range(101)])

    assert figures == pytest.approx({"p50_ms": 50, "p95_ms": 95, "p99_ms": 99})


@pytest.mark.parametrize(
    ("median", "is_upper", "holds"),
    [(2.5, True, True), (2.6, True, False), (2.5, False, True), (2.4, False, False)],
)
def test_a_bound_is_met_by_the_median(median: float, is_upper: bool, holds: bool) -> None:
    line = Line(text="", figure=Spread(median, 0, 9), bound=2.5, is_upper=is_upper)

    assert line.holds is holds


def test_a_line_without_figure_says_so() -> None:
    line = Line(text="W1", figure=None, bound=1, is_upper=True)

    assert line.holds is None
    assert str(line).endswith("not measured")
