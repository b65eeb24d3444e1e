"""How often the store is asked for a key, and how old an answer may be."""

import time

import pytest
from redis import Redis

from api.app import create_app
from api.known_keys import MOST_RECENT, RECENT_SECONDS, KnownKeys
from shared.api_keys import ApiKey, NewKey, Scope, Token, new_key_id
from shared.errors import InvalidApiKeyError
from shared.job_store.api_keys import ApiKeys
from shared.settings import Auth, Settings
from tests.waiting import wait_until

READER = NewKey(name="ci", scopes=[Scope.READ])


class RecordingApiKeys(ApiKeys):
    """Notes which keys were asked for."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.asked: list[str] = []

    def find(self, key_id: str) -> ApiKey | None:
        self.asked.append(key_id)
        return super().find(key_id)


@pytest.fixture
def store(redis: Redis) -> RecordingApiKeys:
    return RecordingApiKeys(redis)


@pytest.fixture
def known(store: RecordingApiKeys) -> KnownKeys:
    return KnownKeys(store)


def test_a_key_is_asked_for_once_while_it_is_remembered(
    store: RecordingApiKeys, known: KnownKeys
) -> None:
    key, token = store.create(READER)
    began = time.monotonic()

    found = {known.of(token).id for _ in range(20)} | {known.named(key.id).id}

    assert found == {key.id}
    assert len(store.asked) == 1 or time.monotonic() - began > RECENT_SECONDS


def test_a_key_that_was_revoked_is_let_in_for_no_longer_than_it_is_remembered(
    store: RecordingApiKeys, known: KnownKeys
) -> None:
    key, token = store.create(READER)
    known.of(token)
    store.revoke(key.id)
    revoked_at = time.monotonic()

    def is_refused() -> bool:
        asked_at = time.monotonic()
        try:
            known.of(token)
        except InvalidApiKeyError:
            return True
        assert asked_at - revoked_at <= RECENT_SECONDS
        return False

    wait_until(is_refused)


def test_a_new_secret_is_good_at_once_and_the_old_one_is_not_any_more(
    store: RecordingApiKeys, known: KnownKeys
) -> None:
    key, before = store.create(READER)
    known.of(before)

    _, after = store.rotate(key.id)

    assert known.of(after).id == key.id
    with pytest.raises(InvalidApiKeyError, match="not known here"):
        known.of(before)


def test_what_is_no_key_is_not_remembered(store: RecordingApiKeys, known: KnownKeys) -> None:
    token = Token.new(new_key_id())
    for _ in range(3):
        with pytest.raises(InvalidApiKeyError):
            known.of(token)

    assert store.asked == [token.key_id] * 3


def test_no_more_keys_are_remembered_than_may_be(store: RecordingApiKeys, known: KnownKeys) -> None:
    tokens = [store.create(READER)[1] for _ in range(MOST_RECENT + 1)]
    for token in tokens:
        known.of(token)
    store.asked.clear()

    known.of(tokens[0])

    assert store.asked == [tokens[0].key_id]


def test_who_has_a_key_is_told_when_the_store_can_not_be_asked() -> None:
    settings = Settings(redis_url="unix:///nowhere", auth=Auth.REQUIRED)
    client = create_app(settings).test_client()
    headers = {"Authorization": f"Bearer {Token.new(new_key_id()).text}"}

    assert client.get("/models", headers=headers).status_code == 503
    assert client.get("/models").status_code == 401
    assert client.get("/healthz").status_code == 200
