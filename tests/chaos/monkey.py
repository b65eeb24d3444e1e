"""Breaks a cluster, a little every second, by a seed."""

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from redis.exceptions import RedisError

from tests.chaos.chance import seeded
from tests.chaos.cluster import Cluster, Service
from tests.chaos.lease_clocks import LeaseClocks
from tests.chaos.proxy import Proxy
from tests.chaos.wake_ups import WakeUps

PAUSE_SECONDS = (0.5, 3.0)

FREEZE_SECONDS = (12.0, 15.0)
"""Longer than the ten seconds after which a worker is taken for dead."""

DOWN_SECONDS = (0.0, 2.0)
"""How long a killed server stays away."""

Details = dict[str, Any]
Action = Callable[[random.Random], Details | None]


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """What ends an action that lasts."""

    due: float
    name: str
    apply: Callable[[], None]


class Monkey:
    """A thread that takes an action every few moments and writes down which.

    The seed decides which actions come and in what order, and what each of them draws; the
    processes it meets by then are up to the machine.
    """

    def __init__(
        self, cluster: Cluster, *, seed: int, log: Path, only: frozenset[str] | None = None
    ) -> None:
        """`only`: names of the actions it may take; all of them by default."""
        self.actions: Counter[str] = Counter()
        self.log_path = log
        self._cluster = cluster
        self._wake_ups = WakeUps(cluster.redis)
        self._clocks = LeaseClocks(cluster.redis)
        self._seed = seed
        self._remedies: list[Remedy] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monkey")
        weights: dict[Action, int] = {
            self.kill_pool_child: 10,
            self.kill_worker_family: 4,
            self.kill_worker_main: 3,
            self.kill_api: 4,
            self.kill_api_child: 4,
            self.freeze: 5,
            self.kill_redis: 6,
            self.cut_connections: 7,
            self.pause_connections: 5,
            self.delay_connections: 4,
            self.copy_messages: 8,
            self.forge_messages: 5,
            self.delete_queues: 8,
            self.delete_unacked: 5,
            self.move_lease_clock: 5,
        }
        self._weights = {
            action: weight if only is None or action.__name__ in only else 0
            for action, weight in weights.items()
        }

    def start(self) -> None:
        self._began = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """End all actions that last and let every process come back."""
        self._stopping.set()
        if self._thread.ident:
            self._thread.join()
        self._heal(everything=True)
        for service in self._cluster.services:
            service.release()

    # --- the loop

    def _run(self) -> None:
        self._write("begin", {"seed": self._seed})
        if not any(self._weights.values()):
            return
        number = 0
        while not self._pause(seeded("pause", self._seed, number)):
            chance = seeded("action", self._seed, number)
            action = chance.choices(list(self._weights), weights=list(self._weights.values()))[0]
            self._act(action, chance)
            number += 1

    def _pause(self, chance: random.Random) -> bool:
        """Wait for the next action while ending older ones in time; true when it is over."""
        until = time.monotonic() + chance.uniform(*PAUSE_SECONDS)
        while (left := until - time.monotonic()) > 0:
            self._heal()
            if self._stopping.wait(min(left, 0.1)):
                return True
        return False

    def _act(self, action: Action, chance: random.Random) -> None:
        name = action.__name__  # type: ignore[attr-defined]
        try:
            details = action(chance)
        except (psutil.NoSuchProcess, IndexError):
            self._write(name, {"met": "nobody"})
        except RedisError as error:
            self._write(name, {"met": repr(error)})
        else:
            if details is None:
                return
            self.actions[name] += 1
            self._write(name, details)

    def _later(self, seconds: float, name: str, remedy: Callable[[], None]) -> None:
        due = time.monotonic() + seconds
        self._remedies.append(Remedy(due=due, name=name, apply=remedy))

    def _heal(self, *, everything: bool = False) -> None:
        now = time.monotonic()
        for remedy in [each for each in self._remedies if everything or each.due <= now]:
            self._remedies.remove(remedy)
            remedy.apply()
            self._write(remedy.name, {})

    def _write(self, action: str, details: Details) -> None:
        at = round(time.monotonic() - self._began, 3)
        with self.log_path.open("a") as log:
            log.write(json.dumps({"at": at, "action": action} | details) + "\n")

    # --- processes

    def kill_pool_child(self, chance: random.Random) -> Details:
        child = chance.choice(self._node(chance).children())
        child.kill()
        return {"pid": child.pid}

    def kill_worker_family(self, chance: random.Random) -> Details:
        """As when a container vanishes."""
        node = self._node(chance)
        node.hold(chance.uniform(*DOWN_SECONDS))
        return _kill([node.main(), *node.children()]) | {"node": node.name}

    def kill_worker_main(self, chance: random.Random) -> Details:
        """Its children are orphans then."""
        node = self._node(chance)
        return _kill([node.main()]) | {"node": node.name}

    def kill_api(self, chance: random.Random) -> Details:
        api = self._cluster.api
        api.hold(chance.uniform(*DOWN_SECONDS))
        return _kill([api.main(), *api.children()])

    def kill_api_child(self, _chance: random.Random) -> Details:
        """Gunicorn's master starts another one."""
        return _kill(self._cluster.api.children()[:1])

    def kill_redis(self, chance: random.Random) -> Details:
        server = self._cluster.redis_server
        down_seconds = chance.uniform(*DOWN_SECONDS)
        server.hold(down_seconds)
        return _kill([server.main()]) | {"down_seconds": round(down_seconds, 1)}

    def freeze(self, chance: random.Random) -> Details | None:
        """Stop a pool child, a main process, or both for longer than a heartbeat may be late."""
        node = self._node(chance)
        who = chance.choice(["child", "main", "family"])
        seconds = chance.uniform(*FREEZE_SECONDS)
        if any(remedy.name == "thaw" for remedy in self._remedies):
            return None  # with both nodes frozen nothing would happen for long
        frozen = {
            "child": lambda: [chance.choice(node.children())],
            "main": lambda: [node.main()],
            "family": lambda: [node.main(), *node.children()],
        }[who]()
        _signal(frozen, signal.SIGSTOP)
        self._later(seconds, "thaw", lambda: _signal(frozen, signal.SIGCONT))
        pids = [process.pid for process in frozen]
        return {"who": who, "node": node.name, "pids": pids, "seconds": round(seconds, 1)}

    def _node(self, chance: random.Random) -> Service:
        """One that is up if there is one: to kill what is just starting breaks nothing."""
        nodes = chance.sample(self._cluster.nodes, k=len(self._cluster.nodes))
        return next((node for node in nodes if _is_up(node)), nodes[0])

    # --- connections

    def cut_connections(self, chance: random.Random) -> Details:
        proxies = self._some_proxies(chance)
        for proxy in proxies:
            proxy.cut()
        return {"whose": [proxy.name for proxy in proxies]}

    def pause_connections(self, chance: random.Random) -> Details:
        """Half-open: the connection stands, but nothing comes."""
        proxies, seconds = self._some_proxies(chance), chance.uniform(1, 8)
        for proxy in proxies:
            proxy.pause()
            self._later(seconds, f"resume {proxy.name}", proxy.resume)
        return {"whose": [proxy.name for proxy in proxies], "seconds": round(seconds, 1)}

    def delay_connections(self, chance: random.Random) -> Details:
        proxies, seconds = self._some_proxies(chance), chance.uniform(2, 5)
        delay_seconds = chance.uniform(0.02, 0.3)
        for proxy in proxies:
            proxy.delay(delay_seconds)
            self._later(seconds, f"no delay {proxy.name}", lambda proxy=proxy: proxy.delay(0.0))
        whose = [proxy.name for proxy in proxies]
        return {"whose": whose, "seconds": round(seconds, 1), "delay": round(delay_seconds, 3)}

    def _some_proxies(self, chance: random.Random) -> list[Proxy]:
        """One of them, or all."""
        proxies = self._cluster.proxies
        return chance.choice([*([proxy] for proxy in proxies), proxies])

    # --- messages and leases

    def copy_messages(self, chance: random.Random) -> Details:
        """Deliver messages again, those that wait as well as those of long ago."""
        return self._wake_ups.copy(chance)

    def forge_messages(self, chance: random.Random) -> Details:
        """Send messages that nobody meant, some of them about nothing Celery knows."""
        return self._wake_ups.forge(chance)

    def delete_queues(self, _chance: random.Random) -> Details:
        return self._wake_ups.delete()

    def delete_unacked(self, _chance: random.Random) -> Details:
        """Forget what Celery believes to be under way."""
        return self._wake_ups.delete_unacked()

    def move_lease_clock(self, chance: random.Random) -> Details:
        """Let running attempts run out early or late, or a worker look dead."""
        return self._clocks.move(chance)


def _is_up(node: Service) -> bool:
    """Whether a worker has its pool."""
    try:
        return bool(node.children())
    except psutil.NoSuchProcess:
        return False


def _kill(processes: list[psutil.Process]) -> Details:
    _signal(processes, signal.SIGKILL)
    return {"pids": [process.pid for process in processes]}


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    """Send a signal; psutil sees to it that no other process has got the pid meanwhile."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
