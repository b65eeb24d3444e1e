"""API keys in Redis: a hash of all of them, revoked ones included, so that logs can be read later.

All methods raise StoreUnavailableError when Redis does not answer in time.
"""

import json
from collections.abc import Callable
from contextlib import suppress

from pydantic import TypeAdapter
from redis import Redis
from redis.exceptions import WatchError

from shared.api_keys import ApiKey, KeyState, NewKey, Token, new_key_id
from shared.errors import KeyNotFoundError
from shared.job_store import keys
from shared.job_store.connection import milliseconds, translated_errors

_KEY = TypeAdapter(ApiKey)


class ApiKeys:
    """Keys by their ids. Safe to share by threads; holds nothing but the connection."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def create(self, new: NewKey) -> tuple[ApiKey, Token]:
        """A new key and its token, which nobody can tell afterwards."""
        with translated_errors():
            now_ms = milliseconds(self._redis.time())
        token = Token.new(new_key_id())
        key = ApiKey(
            id=token.key_id,
            name=new.name,
            scopes=frozenset(new.scopes),
            limits=new.limits,
            digest=token.digest,
            created_at_ms=now_ms,
            expires_at_ms=now_ms + new.lasts_seconds * 1000 if new.lasts_seconds else None,
            read_at_ms=now_ms,
        )
        with translated_errors():
            self._redis.hset(keys.API_KEYS, key.id, _dump(key))
        return key, token

    def find(self, key_id: str) -> ApiKey | None:
        """The key as it is now, live or not; None if there never was one. One round trip."""
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hget(keys.API_KEYS, key_id)
            now, found = pipe.execute()
        return _parse(found, milliseconds(now)) if found else None

    def all(self) -> list[ApiKey]:
        """All keys, oldest first."""
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hvals(keys.API_KEYS)
            now, found = pipe.execute()
        parsed = [_parse(value, milliseconds(now)) for value in found]
        return sorted(parsed, key=lambda key: (key.created_at_ms, key.id))

    def has_live(self) -> bool:
        """Whether any key opens anything."""
        return any(key.state is KeyState.LIVE for key in self.all())

    def rotate(self, key_id: str) -> tuple[ApiKey, Token]:
        """Give a key a new secret at once. Raises KeyNotFoundError for one that is revoked, too."""
        token = Token.new(key_id)

        def rotated(key: ApiKey) -> ApiKey:
            if key.state is KeyState.REVOKED:
                raise KeyNotFoundError(key_id)
            return key.rotated(token)

        return self._change(key_id, rotated), token

    def revoke(self, key_id: str) -> ApiKey:
        """Have a key open nothing any more; idempotent. Raises KeyNotFoundError."""
        return self._change(key_id, ApiKey.revoked)

    def _change(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
        """Write what `change` makes of a key, and nothing over what somebody else just wrote."""
        with translated_errors(), self._redis.pipeline() as pipe:
            while True:
                pipe.watch(keys.API_KEYS)  # type: ignore[no-untyped-call]
                found, now = pipe.hget(keys.API_KEYS, key_id), pipe.time()
                if not found:
                    raise KeyNotFoundError(key_id)
                changed = change(_parse(found, milliseconds(now)))
                pipe.multi()
                pipe.hset(keys.API_KEYS, key_id, _dump(changed))
                with suppress(WatchError):
                    pipe.execute()
                    return changed


def _dump(key: ApiKey) -> bytes:
    return _KEY.dump_json(key, exclude={"read_at_ms"}, exclude_none=True)


def _parse(value: bytes | str, read_at_ms: int) -> ApiKey:
    return _KEY.validate_python(json.loads(value) | {"read_at_ms": read_at_ms})
