"""The trail of a request, as it is stored with a job."""

import pytest

from shared.trail import NO_TRAIL, Trail

PLACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "trail",
    [
        NO_TRAIL,
        Trail(request_id="a"),
        Trail(request_id="a", traceparent=PLACE),
        Trail(traceparent=PLACE),
    ],
)
def test_a_trail_is_read_as_it_was_written(trail: Trail) -> None:
    assert Trail.parse(trail.dump()) == trail
