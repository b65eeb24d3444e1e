"""Steps that outlast a store which is away."""

import logging
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from shared.errors import PayloadStoreUnavailableError, StoreError

logger = logging.getLogger(__name__)

RETRY_DELAYS_SECONDS = (0.1, 0.5, 1.0)
"""The last one is repeated. Redis is back within seconds after a crash, and a process that holds a
result has nothing better to do meanwhile than to keep it."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def persistently(
    step: Callable[Arguments, Result], *, meanwhile: Callable[[], object] = bool
) -> Callable[Arguments, Result]:
    """`step`, tried again for as long as the store is out of reach; it must bear being run twice.

    Whenever it is an object store that is, `meanwhile` is called, and may raise to end it.

    Waiting here and not by Celery's retry, because that would send a message to the very server
    that is away. A worker that is stopped meanwhile ends its processes.
    """

    def persistent(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        attempt = 0
        while True:
            try:
                return step(*args, **kwargs)
            except StoreError as error:
                logger.warning("store out of reach", extra={"reason": str(error)})
                if isinstance(error, PayloadStoreUnavailableError):
                    meanwhile()
                time.sleep(RETRY_DELAYS_SECONDS[min(attempt, len(RETRY_DELAYS_SECONDS) - 1)])
                attempt += 1

    return persistent
