"""What must be true before the local stack is started; else there is one clear line."""

import os
import shlex
import socket
from contextlib import ExitStack, closing
from pathlib import Path

import redis
from kombu.exceptions import OperationalError

from deploy.local.processes import MAX_SOCKET_PATH_BYTES
from shared.dispatch import make_celery
from shared.errors import RowmillError
from shared.job_store.api_keys import ApiKeys
from shared.job_store.connection import connect
from shared.redis_address import RedisAddress
from shared.settings import SOCKET_NAME, Auth, Settings


class StackError(RowmillError):
    """The local stack can't be started; the message says what to do."""

    code = "stack_failed"


def check_socket_path(run_dir: Path) -> None:
    """Raises StackError when the run directory lies too deep for a Unix socket."""
    path = run_dir / SOCKET_NAME
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH_BYTES:
        raise StackError(
            f"The socket {path} would have a path of {length} bytes; the system takes "
            f"{MAX_SOCKET_PATH_BYTES}. Set ROWMILL_RUN_DIR to a shorter directory."
        )


def check_ports(settings: Settings) -> None:
    """Raises StackError when a port of the stack is taken, also by another part of it."""
    wanted = [
        ("ROWMILL_PORT", settings.host, settings.port),
        ("ROWMILL_FLOWER_PORT", "127.0.0.1", settings.flower_port),
    ]
    if settings.metrics_port:
        wanted.append(("ROWMILL_METRICS_PORT", settings.metrics_host, settings.metrics_port))
    with ExitStack() as held:
        for setting, host, port in wanted:
            try:
                held.enter_context(socket.create_server((host, port)))
            except OSError as error:
                raise StackError(
                    f"Can't listen on {host}:{port} ({os.strerror(error.errno or 0)}). "
                    f"Stop what uses it or choose another port: make up {setting}={port + 1}"
                ) from error


def check_redis(settings: Settings) -> None:
    """Raises StackError when the Redis server of ROWMILL_REDIS_URL does not answer."""
    try:
        with connect(settings.redis_url) as client:
            client.ping()
    except redis.RedisError as error:
        # Not the URL: it may hold a password.
        where = RedisAddress.parse(settings.redis_url).where
        raise StackError(
            f"Redis at {where} does not answer ({type(error).__name__}). Start it, mend "
            "ROWMILL_REDIS_URL, or unset that to use the embedded server."
        ) from error


def check_broker(settings: Settings) -> None:
    """Raises StackError when the broker of ROWMILL_BROKER_URL, if there is one, does not answer."""
    if not settings.broker_url:
        return
    with make_celery(settings).connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0)
        except OperationalError as error:
            # Its own way to show a URL leaves the password out.
            raise StackError(
                f"The broker at {connection.as_uri()} does not answer ({error}). Start it, mend "
                "ROWMILL_BROKER_URL, or unset that to use Redis."
            ) from error


def check_keys(settings: Settings) -> None:
    """Raises StackError where callers need an API key and there is none; Redis has to run."""
    if not settings.needs_keys:
        return
    with closing(connect(settings.redis_url)) as client:
        has_live = ApiKeys(client).has_live()
    if not has_live:
        raise StackError(_how_to_create_a_key(settings))


def _how_to_create_a_key(settings: Settings) -> str:
    """Why one is needed, and commands that work as they stand, whatever the caller has set."""
    where = run_dir_argument(settings)
    alone = f"{where} ROWMILL_HOST=127.0.0.1"
    if settings.auth is Auth.REQUIRED:
        reason = "ROWMILL_AUTH=required is set"
        alone += " ROWMILL_AUTH=off"
    else:
        reason = f"others reach {settings.reached_on or 'all addresses'}"
        alone += " ROWMILL_PUBLISHED_HOST=" if settings.published_host else ""
    return (
        f"Callers need an API key, since {reason}, and there is none yet. Create one while the "
        "stack runs for this machine alone:\n"
        f"  make up{alone}\n"
        f" {where} .venv/bin/python -m api.keys create --name admin --scope admin\n"
        f"  make down{where}\n"
        "It is kept, and make up then works as you called it. Or set ROWMILL_AUTH=off, if all "
        "who can reach it may do everything."
    )


def run_dir_argument(settings: Settings) -> str:
    """What tells another command where this stack is kept: nothing, or an assignment."""
    if settings.run_dir == Settings.model_fields["run_dir"].default:
        return ""
    return f" ROWMILL_RUN_DIR={shlex.quote(str(settings.run_dir.absolute()))}"
