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
    track = bar.track(input_bytes=None)
    for succeeded, failed, pending in sightings:
        before = (bar.ratio, track.rows_done, track.rows_total)
        job = make_job(succeeded=succeeded, failed=failed, total=succeeded + failed + pending)

        track.seen(job)

        after = (bar.ratio, track.rows_done, track.rows_total)
        assert all(new >= old for new, old in zip(after, before, strict=True))


@given(
    events=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["sent", "seen", "ended"]), ROWS), max_size=30
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_progress_of_several_inputs_never_goes_backwards_either(make_job, events):
    bar = ProgressBar()
    bar.expect([100, 50, 0])
    tracks = [bar.track(size) for size in (100, 50, 0)]
    for which, what, number in events:
        before = bar.ratio

        if what == "sent":
            tracks[which].sent(number)
        elif what == "seen":
            tracks[which].seen(make_job(succeeded=number, total=100))
        else:
            tracks[which].ended()

        assert before <= bar.ratio <= 1.0


def shown(capsys):
    return [line.rstrip() for line in capsys.readouterr().err.splitlines()]


def test_where_no_bar_can_be_drawn_a_line_comes_every_ten_seconds(make_job, fake_clock, capsys):
    with ProgressBar(clock=fake_clock.clock) as bar:
        track = bar.track(input_bytes=99_000_000)
        for sent_bytes in (20_000_000, 45_200_000):
            fake_clock.sleep(6)
            track.sent(sent_bytes)
        for _ in range(2):
            fake_clock.sleep(6)
            track.seen(make_job(succeeded=4, total=10))

    assert shown(capsys) == [
        "Sending  0%  45.2 MB of 99.0 MB",
        "Scoring  40%  4/10 rows  8,100 rows/s  0.7 s left",
    ]


def test_of_several_inputs_the_time_left_is_by_the_share_that_took_so_long(
    make_job, fake_clock, capsys
):
    with ProgressBar(clock=fake_clock.clock) as bar:
        bar.expect([300, 100])
        fake_clock.sleep(12)
        bar.track(300).seen(make_job("succeeded", succeeded=7, total=7))

    assert shown(capsys) == ["Scoring  75%  1/2 files  7 rows  1 rows/s  4.0 s left"]


def test_who_wants_quiet_gets_it(make_job, fake_clock, capsys):
    with ProgressBar(clock=fake_clock.clock, is_quiet=True) as bar:
        fake_clock.sleep(60)
        bar.track().seen(make_job())

    assert shown(capsys) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.94, "59.9 s"), (59.96, "0:01:00"), (7800, "2:10:00")],
)
def test_a_duration_is_short_and_rounds_without_a_jump(seconds, text):
    assert duration_text(seconds) == text
