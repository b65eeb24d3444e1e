"""The API keys that a process has heard of lately, so that not every request has to ask for one."""

import time
from collections import OrderedDict
from threading import Lock

from shared.api_keys import ApiKey, KeyState, Token
from shared.errors import InvalidApiKeyError
from shared.job_store.api_keys import ApiKeys

RECENT_SECONDS = 1.0
"""How long a key is not asked for again: as long as one that was revoked may still be good for."""

MOST_RECENT = 1000
"""Keys that a process remembers; a few hundred bytes each."""


class KnownKeys:
    """The keys there are, asked for at most once in `RECENT_SECONDS`. Safe to share by threads."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys
        self._lock = Lock()
        self._recent: OrderedDict[str, tuple[float, ApiKey]] = OrderedDict()

    def of(self, token: Token) -> ApiKey:
        """The live key that a token proves. Raises InvalidApiKeyError, StoreUnavailableError."""
        key = self._remembered(token.key_id)
        # One that was rotated just now has another secret than is remembered.
        if key is None or not key.is_proven_by(token):
            key = self._look_up(token.key_id)
        if key is None or not key.is_proven_by(token):
            raise InvalidApiKeyError
        return _live(key)

    def named(self, key_id: str) -> ApiKey:
        """The live key with this id, for who was let in by it before. Raises as `of`."""
        key = self._remembered(key_id) or self._look_up(key_id)
        if key is None:
            raise InvalidApiKeyError
        return _live(key)

    def _remembered(self, key_id: str) -> ApiKey | None:
        with self._lock:
            read_at, key = self._recent.get(key_id, (0.0, None))
        return key if key and time.monotonic() - read_at <= RECENT_SECONDS else None

    def _look_up(self, key_id: str) -> ApiKey | None:
        # Before the store is asked: what it says may be old by the time it is heard.
        now, key = time.monotonic(), self._keys.find(key_id)
        # Ids that there are none of could be sent without end.
        if key is not None:
            with self._lock:
                self._recent[key_id] = (now, key)
                self._recent.move_to_end(key_id)
                if len(self._recent) > MOST_RECENT:
                    self._recent.popitem(last=False)
        return key


def _live(key: ApiKey) -> ApiKey:
    if key.state is not KeyState.LIVE:
        raise InvalidApiKeyError(f"'{key.name}' is {key.state}")
    return key
