"""How fast a job will be done, as far as it is known."""

from api.speeds import Speeds
from shared.chunks import ASSUMED_EXPLAINED_SPEED
from shared.job_store.workers import WorkerRegistry
from shared.signature import OutputKind
from tests.factories import make_spec

PREDICTED = make_spec()
EXPLAINED = make_spec(output=OutputKind.CONTRIBUTIONS)
VALIDATED = make_spec(output=OutputKind.CONTRIBUTIONS, validate_only=True)


def test_a_speed_is_known_once_it_was_measured(registry: WorkerRegistry) -> None:
    speeds = Speeds(registry)
    before = speeds.of(PREDICTED)

    registry.record_speed(PREDICTED.speed_id, 5000)

    assert (before, speeds.of(PREDICTED)) == (None, 5000)


def test_contributions_are_slow_until_they_were_measured(registry: WorkerRegistry) -> None:
    speeds = Speeds(registry)
    registry.record_speed(PREDICTED.speed_id, 5000)
    before = speeds.of(EXPLAINED)

    registry.record_speed(EXPLAINED.speed_id, 30)

    assert (before, speeds.of(EXPLAINED)) == (ASSUMED_EXPLAINED_SPEED, 30)
    assert speeds.of(PREDICTED) == 5000


def test_validations_have_a_speed_of_their_own(registry: WorkerRegistry) -> None:
    speeds = Speeds(registry)
    registry.record_speed(PREDICTED.speed_id, 5000)
    before = speeds.of(VALIDATED)

    registry.record_speed(VALIDATED.speed_id, 90_000)

    assert (before, speeds.of(VALIDATED)) == (None, 90_000)
    assert speeds.of(PREDICTED) == 5000
