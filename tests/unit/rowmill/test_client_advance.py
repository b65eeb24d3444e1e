"""Progress for people never goes backwards."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rowmill.advance import Advance, duration_text

SIGHTINGS = st.lists(
    st.tuples(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100)), max_size=20
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sightings=SIGHTINGS)
def test_an_advance_never_goes_backwards_whatever_is_seen(make_job, sightings):
    advance = Advance()
    for succeeded, failed, pending in sightings:
        total = succeeded + failed + pending
        job = make_job(succeeded=succeeded, failed=failed, total=total)

        later = advance.after(job)

        assert (later.ratio, later.rows_done, later.rows_total) >= (0, 0, 0)
        assert later.ratio >= advance.ratio
        assert later.rows_done >= advance.rows_done
        assert later.rows_total >= advance.rows_total
        advance = later


def test_an_advance_tells_rows_speed_and_time_left(make_job):
    advance = Advance().after(make_job(total=10_000, succeeded=4_200))

    assert advance.text == "4,200/10,000 rows  8,100 rows/s  0.7 s left"
    assert advance.ratio == 0.42


def test_a_job_that_has_ended_has_no_time_left(make_job):
    advance = Advance().after(make_job("succeeded", succeeded=10))

    assert advance.text == "10/10 rows  8,100 rows/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds, text):
    assert duration_text(seconds) == text
