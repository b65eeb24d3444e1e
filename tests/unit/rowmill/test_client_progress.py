"""Progress for people never goes backwards."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rowmill.progress_bar import ProgressBar
from rowmill.tables import duration_text

ROWS = st.integers(0, 100)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sightings=st.lists(st.tuples(ROWS, ROWS, ROWS), max_size=20))
def test_progress_never_goes_backwards_whatever_is_seen(make_job, sightings):
    bar = ProgressBar()
    for succeeded, failed, pending in sightings:
        before = (bar.ratio, bar.rows_done, bar.rows_total)
        job = make_job(succeeded=succeeded, failed=failed, total=succeeded + failed + pending)

        bar.seen(job)

        after = (bar.ratio, bar.rows_done, bar.rows_total)
        assert all(new >= old for new, old in zip(after, before, strict=True))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.94, "59.9 s"), (59.96, "0:01:00"), (7800, "2:10:00")],
)
def test_a_duration_is_short_and_rounds_without_a_jump(seconds, text):
    assert duration_text(seconds) == text
