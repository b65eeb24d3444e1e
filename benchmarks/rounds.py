"""All contenders in turn, round after round: whatever slows the machine down slows all of them."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.contenders.contender import Contender, UnavailableError
from benchmarks.figures import Measurement, Measurements
from benchmarks.models import Model
from benchmarks.processes import warm_process
from benchmarks.turns import Sizes, Turns
from benchmarks.usage import STALL, meter

WARM_UP_JOBS = 200
MEMORY = "memory"
"""The workload of a bulk job that is watched closely, and so not timed."""

MAX_STALL_SECONDS = 1.0
"""No load makes a sleeping process wake up so late; a virtual machine that is paused does."""

TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be measured. Small jobs are of the first model."""

    rounds: int
    workloads: Sequence[str]
    models: Sequence[Model]
    sizes: Sizes


class Rounds:
    """Measures contenders by a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.found = Measurements()
        self.left_out: dict[str, str] = {}
        """Why a contender did not take part."""
        self.taken_again = 0
        """Turns that do not count, because the machine stood still."""

    def run(self, contenders: Sequence[Contender]) -> None:
        with ExitStack() as stack:
            client = stack.enter_context(warm_process())
            turns = Turns(self._plan.sizes, stack.enter_context(meter()), client)
            able = self._started(contenders, stack)
            for workload, model, contender in self._schedule(able, 0):
                say(f"warming up: {workload} {model.name} {contender.name}")
                self._warm_up(turns, workload, model, contender)
            for number in range(self._plan.rounds):
                for workload, model, contender in self._schedule(able, number):
                    say(f"round {number + 1}: {workload} {model.name} {contender.name}")
                    self._measure(turns, workload, model, contender, number)
            for workload, model, contender in self._schedule(able, 0):
                if workload == "w1":
                    say(f"memory: {model.name} {contender.name}")
                    self._measure(turns, MEMORY, model, contender, 0)
        say("")

    def _started(self, contenders: Sequence[Contender], stack: ExitStack) -> list[Contender]:
        started: dict[str, str | None] = {}
        able: list[Contender] = []
        for contender in contenders:
            service = contender.service
            if service.name not in started:
                say(f"starting {service.name}")
                try:
                    stack.enter_context(service.running(self._plan.models))
                    started[service.name] = None
                except UnavailableError as error:
                    started[service.name] = str(error)
            problem = started[service.name] or (contender.problem and contender.problem())
            if problem:
                self.left_out[contender.name] = problem
            else:
                able.append(contender)
        return able

    def _schedule(
        self, contenders: Sequence[Contender], number: int
    ) -> list[tuple[str, Model, Contender]]:
        """The turns of a round; another contender comes first in each."""
        turns = []
        for workload in self._plan.workloads:
            models = self._plan.models if workload == "w1" else self._plan.models[:1]
            for model in models:
                able = [one for one in contenders if workload in one.workloads]
                start = number % len(able) if able else 0
                turns += [(workload, model, one) for one in able[start:] + able[:start]]
        return turns

    @staticmethod
    def _warm_up(turns: Turns, workload: str, model: Model, contender: Contender) -> None:
        if workload == "w1":
            turns.bulk(contender, model)
        elif workload == "w2":
            turns.small(contender, model, jobs=WARM_UP_JOBS)

    def _measure(
        self, turns: Turns, workload: str, model: Model, contender: Contender, number: int
    ) -> None:
        """Take a turn, and take it again should the machine have stood still meanwhile."""
        for _ in range(TRIES):
            figures = _turn(turns, workload, model, contender)
            if figures[STALL] < MAX_STALL_SECONDS:
                break
            self.taken_again += 1
        self.found.turns.append(
            Measurement(
                workload=workload,
                model=model.name,
                contender=contender.name,
                round=number,
                figures=figures,
            )
        )


def _turn(turns: Turns, workload: str, model: Model, contender: Contender) -> dict[str, float]:
    if workload == "w1":
        return turns.bulk(contender, model)
    if workload == MEMORY:
        return turns.bulk(contender, model, has_pss=True)
    if workload == "w2":
        return turns.small(contender, model)
    return turns.mixed(contender, model)


def say(text: str) -> None:
    """Show what goes on, on a terminal over the line before."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", flush=True, file=sys.stderr)
    elif text:
        print(text, flush=True, file=sys.stderr)
