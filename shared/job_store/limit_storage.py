"""Where limits are counted: the library's own storage in Redis, over the store's connections and
with the store's errors.
"""

from typing import Any

from limits.storage import RedisStorage
from redis import Redis

from shared.errors import StoreFullError, StoreReadOnlyError
from shared.job_store import keys
from shared.job_store.connection import translated_errors

URI = "rowmill+redis://"
"""By which the library finds it."""


class LimitStorage(RedisStorage):
    """Counts in sliding windows. All methods raise StoreUnavailableError when Redis does not answer
    in time."""

    STORAGE_SCHEME = ["rowmill+redis"]  # noqa: RUF012 – the library's own

    def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Whether there is room, as the library has it; always where nothing can be written."""
        try:
            with translated_errors():
                return super().acquire_sliding_window_entry(key, limit, expiry, amount)
        except (StoreFullError, StoreReadOnlyError):
            # Jobs can still be read then, and deleted to make room; new ones the store refuses.
            return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """What was counted, as the library has it."""
        with translated_errors():
            return super().get_sliding_window(key, expiry)


# Any: what the library takes.
def limit_storage(redis: Redis) -> dict[str, Any]:
    """Options with which it counts over this client's connections."""
    return {"connection_pool": redis.connection_pool, "key_prefix": keys.LIMITS}
