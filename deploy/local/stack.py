"""Start and stop the local stack: `python -m deploy.local.stack up|down`."""

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import FrameType

import redis
from pydantic import ValidationError

from deploy.local import preflight
from deploy.local.preflight import StackError
from deploy.local.processes import Processes
from rowmill.client import DEFAULT_URL
from shared.settings import SOCKET_NAME, Settings, embedded_redis_url

READY_SECONDS = 90
"""Deadline of `up`. A first start compiles scikit-learn's modules, which a slow disk drags out."""

# Health is asked on this machine; a proxy from the environment would only be in the way.
_open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


@dataclass(frozen=True, kw_only=True)
class StackRecord:
    """What a stack was started as; kept beside it, since the settings may be others by now."""

    api_url: str
    flower_url: str
    has_embedded_redis: bool


class Stack:
    """The stack of one run directory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.run_dir = settings.run_dir.absolute()
        self.run_dir_argument = preflight.run_dir_argument(settings)
        self._processes = Processes(self.run_dir)
        self._record_path = self.run_dir / "stack.json"

    def running(self) -> StackRecord | None:
        """What the running stack was started as; None when none runs."""
        if not self._processes.is_running():
            return None
        return StackRecord(**json.loads(self._record_path.read_text()))

    def up(self) -> StackRecord:
        """Start what does not run yet and return when jobs can be scored.

        When it raises or is interrupted, nothing that it started is left running; a stack that ran
        before stays. Raises StackError.
        """
        preflight.check_socket_path(self.run_dir)
        self.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock():
            record = self.running()
            if record is not None:
                self._start_programs(record)
                return record
            self._processes.stop_all()
            try:
                return self._start()
            except BaseException:
                with ignoring_interrupts():
                    self._processes.stop_all()
                raise

    def down(self) -> bool:
        """Stop everything and wait for it; returns whether anything ran."""
        if not self.run_dir.is_dir():
            return False
        with self._lock():
            return self._processes.stop_all()

    def _start(self) -> StackRecord:
        settings = self._settings
        preflight.check_ports(settings)
        is_embedded = settings.redis_url == embedded_redis_url(settings.run_dir)
        if not is_embedded:
            preflight.check_redis(settings)
        preflight.check_broker(settings)
        is_everywhere = settings.host in ("", "0.0.0.0")  # noqa: S104  (compared, not bound)
        reachable_host = "127.0.0.1" if is_everywhere else settings.host
        record = StackRecord(
            api_url=f"http://{reachable_host}:{settings.port}",
            flower_url=f"http://127.0.0.1:{settings.flower_port}",
            has_embedded_redis=is_embedded,
        )
        self._record_path.write_text(json.dumps(asdict(record)))
        try:
            self._processes.start_supervisor(self._environment())
        except subprocess.CalledProcessError as error:
            raise StackError(f"supervisord did not start:\n{error.stdout}") from error
        self._start_programs(record)
        return record

    def _environment(self) -> dict[str, str]:
        """The caller's variables, with those that supervisord.conf names resolved."""
        settings = self._settings
        return {
            **os.environ,
            "ROWMILL_RUN_DIR": str(self.run_dir),
            "ROWMILL_MODELS_DIR": str(settings.models_dir.absolute()),
            "ROWMILL_WORKERS": str(settings.workers),
            "ROWMILL_THREADS_PER_PROCESS": str(settings.threads_per_process),
            "ROWMILL_FLOWER_PORT": str(settings.flower_port),
            "ROWMILL_REDIS_URL": settings.redis_url,
            "PYTHONUNBUFFERED": "1",
        }

    def _start_programs(self, record: StackRecord) -> None:
        deadline = time.monotonic() + READY_SECONDS
        if record.has_embedded_redis:
            self._processes.start("redis")
            self._wait(self._redis_problem, deadline, watched=("redis",))
        preflight.check_keys(self._settings)
        for name in ("api", "worker"):
            self._processes.start(name)
        readiness, flower = f"{record.api_url}/readyz", f"{record.flower_url}/healthcheck"
        self._wait(lambda: problem_at(readiness), deadline, watched=("worker", "api"))
        # Last, because it asks the workers for their queues only once, at its start.
        self._processes.start("flower")
        self._wait(lambda: problem_at(flower), deadline, watched=("flower",))
        self._processes.start("worker_watch")

    def _redis_problem(self) -> str | None:
        try:
            with redis.Redis(unix_socket_path=str(self.run_dir / SOCKET_NAME)) as client:
                client.ping()
        except redis.RedisError as error:  # also while it still loads the append-only file
            return f"Redis does not answer ({error})"
        return None

    def _wait(
        self, problem: Callable[[], str | None], deadline: float, *, watched: tuple[str, ...]
    ) -> None:
        """Wait until there is no problem; give up on a crash of a watched program or in time."""
        while (found := problem()) is not None:
            crashed = [p for p in map(self._processes.program, watched) if p.has_crashed]
            if crashed:
                names = tuple(p.name for p in crashed)
                reason = "; ".join(f"{p.name} ended: {p.description}" for p in crashed)
                raise StackError(f"{reason}.{self._logs(names)}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"Not ready after {READY_SECONDS} s: {found}.{self._logs(watched)}"
                )
            time.sleep(0.1)

    def _logs(self, names: tuple[str, ...]) -> str:
        tails = (
            f"\n--- {self._processes.log_path(n)}\n{self._processes.log_tail(n)}" for n in names
        )
        return "".join(tails) + "\n---\nMend what the log names, then run make up again."

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One `up` or `down` at a time; a second one waits."""
        with (self.run_dir / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def problem_at(url: str) -> str | None:
    """Why a health URL does not answer 200, or None when it does."""
    try:
        with _open_url(url, timeout=10):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"{url} answers {error.code} {error.read(500).decode(errors='replace')}"
    except OSError as error:
        return f"{url} does not answer ({error})"


@contextmanager
def ignoring_interrupts() -> Iterator[None]:
    """Lets a clean-up finish: a second Ctrl-C must not leave half of the stack running."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def exit_on_signals() -> None:
    """Make TERM and HUP unwind the stack as Ctrl-C does, so that clean-ups run."""

    def unwind(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, unwind)
    signal.signal(signal.SIGHUP, unwind)


def setting_problems(error: ValidationError) -> str:
    """One line for each setting that can't be used."""
    # An error without input is only the consequence of another one.
    own = [e for e in error.errors() if e["type"] != "default_factory_not_called"]
    return "\n".join(f"ROWMILL_{str(e['loc'][0]).upper()}: {e['msg']}" for e in own)


def up(stack: Stack) -> None:
    if stack.running() is not None:
        print("Rowmill runs already; other settings take effect after make down.", flush=True)
    else:
        print("Starting Rowmill …", flush=True)
    record = stack.up()
    print(f"  API     {record.api_url}")
    print(f"  Flower  {record.flower_url}")
    print(f"  Logs    {stack.run_dir / 'logs'}")
    if record.api_url != DEFAULT_URL:
        print(f"For the command rowmill: export ROWMILL_URL={record.api_url}")
    if stack.run_dir_argument:
        print(f"For python -m api.keys: export{stack.run_dir_argument}")
    print(f"Stop it with: make down{stack.run_dir_argument}")


def down(stack: Stack) -> None:
    if stack.running() is not None:
        print("Stopping Rowmill; workers finish the chunks they have …", flush=True)
    print("Stopped." if stack.down() else "Nothing was running.")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.stack", description=__doc__)
    parser.add_argument("command", choices=("up", "down"))
    command = {"up": up, "down": down}[parser.parse_args().command]
    exit_on_signals()
    try:
        command(Stack(Settings()))
    except ValidationError as error:
        sys.exit(setting_problems(error))
    except StackError as error:
        sys.exit(f"Rowmill is not up. {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; what was started is stopped again.")


if __name__ == "__main__":
    main()
