"""The processes of one run directory, kept by supervisord.

supervisord starts them, starts them again after a crash, keeps their logs and stops them in order.
This module starts supervisord itself, talks to it over its socket, and ends what it left behind
should it have been killed.
"""

import os
import subprocess
import sys
import xmlrpc.client
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

CONFIG = Path(__file__).with_name("supervisord.conf")
MAX_SOCKET_PATH_BYTES = 100
"""The system takes 103 to 107 bytes, and supervisord adds its process id while it binds."""

_STOPPED_STATES = frozenset({"STOPPED", "EXITED", "FATAL"})
_CRASHED_STATES = frozenset({"BACKOFF", "EXITED", "FATAL"})
_STOP_SECONDS = 150
"""Longer than all `stopwaitsecs` of supervisord.conf together."""
_LEFT_BEHIND_SECONDS = 10

_NO_ANSWER = (OSError, HTTPException, xmlrpc.client.Error)
"""No socket, nobody behind it, or a supervisord that is stopping and takes no more calls."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program of supervisord.conf as it is now."""

    name: str
    state: str
    description: str
    pid: int
    """0 while it does not run."""
    age_seconds: float
    """Since it was started last."""

    @property
    def is_stopped(self) -> bool:
        return self.state in _STOPPED_STATES

    @property
    def has_crashed(self) -> bool:
        """Whether it ended although it should run, once or for good."""
        return self.state in _CRASHED_STATES


class Processes:
    """Starts, watches and stops the processes of one run directory."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._server_url = f"unix://{run_dir / 'ctl.sock'}"

    def is_running(self) -> bool:
        """Whether supervisord answers and is not about to stop."""
        try:
            self._supervisord().getState()
        except _NO_ANSWER:
            return False
        return True

    def start_supervisor(self, environment: dict[str, str]) -> None:
        """Start supervisord in the background, with no program running yet.

        Raises subprocess.CalledProcessError with its output when it can't start.
        """
        (self._run_dir / "logs").mkdir(exist_ok=True)
        interpreter_dir = str(Path(sys.executable).parent)
        path = os.pathsep.join((interpreter_dir, environment.get("PATH", os.defpath)))
        subprocess.run(
            (sys.executable, "-m", "supervisor.supervisord", "--configuration", str(CONFIG)),
            env={**environment, "PATH": path, "ROWMILL_RUN_DIR": str(self._run_dir)},
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start(self, name: str) -> None:
        """Start one program if it is stopped; does not wait for it."""
        if self.program(name).is_stopped:
            self._supervisord().startProcess(name, False)

    def program(self, name: str) -> Program:
        info = self._supervisord().getProcessInfo(name)
        return Program(
            name=str(info["name"]),
            state=str(info["statename"]),
            description=str(info["description"] or info["spawnerr"]),
            pid=int(info["pid"]),
            age_seconds=float(info["now"] - info["start"]),
        )

    def log_path(self, name: str) -> Path:
        return self._run_dir / "logs" / f"{name}.log"

    def log_tail(self, name: str, *, lines: int = 25) -> str:
        """The last lines of a program's log; empty when it wrote none."""
        try:
            text = self.log_path(name).read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def stop_all(self) -> bool:
        """Stop every program in order, then supervisord; returns whether anything ran."""
        supervisor = self._supervisor_process()
        if supervisor is not None:
            if self.is_running():
                self._supervisord().shutdown()
            for process in psutil.wait_procs([supervisor], timeout=_STOP_SECONDS)[1]:
                process.kill()
        left_behind = self._end_left_behind()
        return supervisor is not None or left_behind

    # Any: its methods are known to supervisord alone, and XML-RPC answers without types.
    def _supervisord(self) -> Any:
        # The address is a formality: the transport connects to the socket.
        transport = SupervisorTransport(None, None, serverurl=self._server_url)
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def _supervisor_process(self) -> psutil.Process | None:
        """supervisord's process, also while it is stopping and takes no more calls."""
        try:
            # It listens before it writes its number down, so one that just starts is found too.
            return psutil.Process(self._supervisord().getPID())
        except _NO_ANSWER:
            pass
        try:
            process = psutil.Process(int((self._run_dir / "supervisord.pid").read_text()))
            # The number of a supervisord that was killed may be another process's by now.
            return process if str(CONFIG) in process.cmdline() else None
        except (OSError, ValueError, psutil.Error):
            return None

    def _end_left_behind(self) -> bool:
        """End programs whose supervisord is gone; returns whether there were any.

        Redis goes last, as in an orderly stop, so that workers can still write what they finished.
        """
        left_behind = list(self._programs_by_mark())
        for is_redis in (False, True):
            group = [p for name, p in left_behind if (name == "redis") is is_redis]
            for process in group:
                with suppress(psutil.NoSuchProcess):
                    process.terminate()
            for process in psutil.wait_procs(group, timeout=_LEFT_BEHIND_SECONDS)[1]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        return bool(left_behind)

    def _programs_by_mark(self) -> Iterator[tuple[str, psutil.Process]]:
        """Processes that carry this supervisord's address, which it gives to all it starts."""
        for process in psutil.process_iter():
            try:
                environment = process.environ()
            except (psutil.Error, OSError):
                continue
            if environment.get("SUPERVISOR_SERVER_URL") == self._server_url:
                yield environment.get("SUPERVISOR_PROCESS_NAME", ""), process
