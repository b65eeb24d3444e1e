"""API keys as they lie in the store."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from shared.api_keys import KeyLimits, KeyState, NewKey, Scope
from shared.errors import KeyNotFoundError
from shared.job_store import keys
from shared.job_store.api_keys import ApiKeys

READER = NewKey(name="ci", scopes=[Scope.READ], limits=KeyLimits(rows_per_day=7))


@pytest.fixture
def api_keys(redis: Redis) -> ApiKeys:
    return ApiKeys(redis)


def test_a_key_is_found_as_it_was_created(api_keys: ApiKeys) -> None:
    key, token = api_keys.create(READER)

    found = api_keys.find(key.id)

    assert found is not None
    assert found.is_proven_by(token)
    assert (found.name, found.scopes, found.limits.rows_per_day) == ("ci", {Scope.READ}, 7)
    assert found.limits.requests_per_minute is None
    assert api_keys.find("0" * 12) is None


def test_no_secret_lies_in_the_store(api_keys: ApiKeys, redis: Redis) -> None:
    key, token = api_keys.create(READER)
    _, rotated = api_keys.rotate(key.id)

    stored = redis.hget(keys.API_KEYS, key.id)

    assert token.secret.encode() not in stored
    assert rotated.secret.encode() not in stored
    assert rotated.digest.encode() in stored


def test_a_key_expires_by_the_clock_of_the_store(api_keys: ApiKeys, redis: Redis) -> None:
    key, _ = api_keys.create(NewKey(name="ci", scopes=[Scope.READ], lasts_seconds=60))
    assert api_keys.has_live()

    stored = redis.hget(keys.API_KEYS, key.id)
    redis.hset(keys.API_KEYS, key.id, stored.replace(str(key.expires_at_ms).encode(), b"1"))

    found = api_keys.find(key.id)
    assert found is not None
    assert found.state is KeyState.EXPIRED
    assert not api_keys.has_live()


def test_a_revoked_key_stays_in_the_list_and_revoked(api_keys: ApiKeys) -> None:
    first, _ = api_keys.create(READER)
    second, _ = api_keys.create(READER)

    once = api_keys.revoke(first.id)
    again = api_keys.revoke(first.id)

    assert once.revoked_at_ms == again.revoked_at_ms
    assert {key.id: key.state for key in api_keys.all()} == {
        first.id: KeyState.REVOKED,
        second.id: KeyState.LIVE,
    }
    with pytest.raises(KeyNotFoundError, match=first.id):
        api_keys.rotate(first.id)
    with pytest.raises(KeyNotFoundError):
        api_keys.revoke("nobody")


def test_no_change_is_lost_to_another_at_the_same_moment(api_keys: ApiKeys) -> None:
    """Whatever comes first, a key that was revoked is not given back by a rotation."""
    for _ in range(20):
        key, _ = api_keys.create(READER)
        with ThreadPoolExecutor(4) as pool:
            rotations = [pool.submit(api_keys.rotate, key.id) for _ in range(3)]
            pool.submit(api_keys.revoke, key.id).result()
        assert all(isinstance(r.exception(), KeyNotFoundError | None) for r in rotations)
        found = api_keys.find(key.id)
        assert found is not None
        assert found.state is KeyState.REVOKED
