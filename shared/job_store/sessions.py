"""Sessions of browsers in Redis: who has shown an API key need not show it again for a while.

The browser has a token of 256 random bits; what lies here is found by its digest alone, so nobody
who reads it gets in by it. All methods raise StoreUnavailableError when Redis does not answer.
"""

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, field

from redis import Redis

from shared.api_keys import ApiKey
from shared.job_store import keys
from shared.job_store.connection import translated_errors

SESSION_SECONDS = 12 * 3600
"""A day's work. It does not get longer by use, and ends sooner with its key."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """What was shown when it began."""

    key_id: str
    digest: str = field(repr=False)
    """Of the secret that the key had."""

    def is_by(self, key: ApiKey) -> bool:
        """Whether it began with this key and the secret that it has now."""
        return (self.key_id, self.digest) == (key.id, key.digest)


class Sessions:
    """Sessions by their tokens. Safe to share by threads; holds nothing but the connection."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def begin(self, key: ApiKey) -> str:
        """The token of a new session."""
        token = secrets.token_urlsafe(32)
        text = json.dumps(asdict(Session(key_id=key.id, digest=key.digest)))
        with translated_errors():
            self._redis.set(_key(token), text, ex=SESSION_SECONDS)
        return token

    def find(self, token: str) -> Session | None:
        """None if there is none, or none any more."""
        with translated_errors():
            found = self._redis.get(_key(token))
        return Session(**json.loads(found)) if found else None

    def end(self, token: str) -> None:
        """Let nobody in by it any more; idempotent."""
        with translated_errors():
            self._redis.delete(_key(token))


def _key(token: str) -> str:
    return keys.session(hashlib.sha256(token.encode()).hexdigest())
