# ruff: noqa: N999  (Gunicorn's own name for its configuration)
"""Gunicorn as the local stack and the API's image run it.

`GUNICORN_CMD_ARGS` overrides any line, for example `GUNICORN_CMD_ARGS="--access-logfile -"`.
"""

import logging
import sys
import time
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

from api.app import UPLOADS
from api.auth import check_keys
from api.refusals import REQUEST_LINE_BYTES
from api.waiting import FOLLOWING_THREADS, WAITING_THREADS
from shared import metrics, tracing
from shared.errors import NoApiKeyError, StoreUnavailableError
from shared.job_store.api_keys import ApiKeys
from shared.job_store.connection import connect
from shared.logs import JsonFormatter
from shared.settings import Settings

# Before the application is made: all processes count together, also those of a reload.
metrics.begin()

_settings = Settings()
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (Gunicorn makes a private file in it)

bind = f"{_settings.host}:{_settings.port}"

# The API moves bytes and waits, so threads serve it.
worker_class = "api.server.StayingWorker"
workers = _settings.api_processes
# Forked when all is imported: the processes share what they have in common. The application makes
# connections and threads only when it is asked first.
preload_app = True
# Whoever waits or follows, there are always some for others.
threads = WAITING_THREADS + FOLLOWING_THREADS + 16
# Each request that waits holds one, and ROWMILL_MAX_WAITING_REQUESTS may be half of them.
worker_connections = 1000

limit_request_line = REQUEST_LINE_BYTES

# Not whatever is installed: gunicorn_h1c takes requests that this parser refuses.
http_parser = "python"

# Uploads and `Prefer: wait` may be under way when TERM arrives; whoever stops the API waits longer.
graceful_timeout = 20

# The heartbeat is a file whose time is touched; on a slow disk that alone can block a worker.
worker_tmp_dir = str(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None

# Whose word counts on where a request comes from is ROWMILL_TRUSTED_PROXIES. Gunicorn itself would
# believe everybody on this machine.
forwarded_allow_ips = ""

# Off: one line per poll buries the events. ROWMILL_ACCESS_LOG writes lines that name the job.
accesslog = None


class JsonLogger(Logger):  # type: ignore[misc]  # Gunicorn has no types
    """Gunicorn's own lines, in the form of all others."""

    # Any: Gunicorn's configuration.
    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(JsonFormatter())


logger_class = JsonLogger

# Gunicorn's control socket would be one file per user account: two stacks would share it, and a
# container's read-only root has no place for it. Signals are all we need.
control_socket_disable = True


def on_starting(_arbiter: Any) -> None:
    """Listen to nobody where all callers would be turned away.

    While Redis is out of reach nobody can tell, and callers are told just that.
    """
    redis = connect(_settings.redis_url)
    try:
        check_keys(_settings, ApiKeys(redis))
    except NoApiKeyError as error:
        sys.exit(str(error))
    except StoreUnavailableError as error:
        logging.getLogger(__name__).warning("keys not looked for", extra={"reason": str(error)})
    finally:
        redis.close()


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Called in a process that ends."""
    tracing.end()


def post_worker_init(worker: Any) -> None:
    """Tell the application when the time to finish is nearly over, so that it can say of the
    uploads which don't come to their end that they are broken off."""
    # Uploads are looked after every two seconds.
    finishing_seconds = max(0, worker.cfg.graceful_timeout - 5)
    stopping_since: float | None = None

    def is_over() -> bool:
        nonlocal stopping_since
        if worker.alive:
            return False
        stopping_since = stopping_since or time.monotonic()
        return time.monotonic() - stopping_since >= finishing_seconds

    worker.app.wsgi().extensions[UPLOADS].break_off_when(is_over)
