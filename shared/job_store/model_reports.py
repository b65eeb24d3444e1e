"""What workers tell of model versions, and what is known of each version's use.

Each worker tries the versions that new jobs may get and says what came of it; which of them is
given to jobs is decided by who reads that. All methods raise StoreUnavailableError.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter
from redis import Redis

from shared.job_store import keys
from shared.job_store.connection import text, translated_errors

OPENED_SECONDS = 60
"""How long is kept what processes said that they have opened; they say it every few seconds."""

SHADOW_STRIKES = 2
"""Processes that may die while they score a version as a shadow before it is given up. One may be
ended by accident, or for want of memory that others took."""


@dataclass(frozen=True, kw_only=True)
class VersionReport:
    """What a worker makes of one model version."""

    sha256: str
    """Of the artifact that it is about; empty if not even the manifest can be read."""
    is_tried: bool = False
    """False while the version is being opened and tried."""
    is_wanted: bool = True
    """Whether a model reference means it: then the processes of the worker open it."""
    is_open: bool = True
    """Whether they all have; until then none of them should be given jobs of it."""
    code: str = ""
    detail: str = ""
    """Why the version can't serve; empty if it can."""
    warning: str = ""
    """What callers should know of it nevertheless."""

    @property
    def is_sound(self) -> bool:
        """Whether the worker can use the version."""
        return self.is_tried and not self.code

    @property
    def is_ready(self) -> bool:
        """Whether jobs may be given to the worker at once."""
        return self.is_sound and self.is_open

    @property
    def has_failed(self) -> bool:
        return bool(self.code)


Reports = Mapping[str, VersionReport]
"""By model version, `name/version`."""

_REPORTS = TypeAdapter(dict[str, VersionReport])


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a model version was used for since the store began."""

    jobs: int = 0
    succeeded: int = 0
    failed: int = 0
    """Rows with a prediction, and rows with an error."""
    rows_per_second: float | None = None
    """Of one process, as chunks are cut by; None before it was measured."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How a shadow's predictions differ from those that were given, over the same rows."""

    version_id: str
    shadow_version_id: str
    output: str
    rows: int = 0
    agreed: int = 0
    """Rows with the same prediction."""
    difference: float | None = None
    """Mean absolute difference of a row's numbers, as far as it is finite; None for predictions
    that are no numbers."""
    skipped: int = 0
    """Rows that were answered faster than the shadow could follow, or that it could not score."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What there is to know of model versions at a moment."""

    reports: Mapping[str, Reports] = field(default_factory=dict)
    """By worker."""
    serving: Mapping[str, str] = field(default_factory=dict)
    """The version that each model reference last meant which a worker could use."""
    shadow_losses: Mapping[str, int] = field(default_factory=dict)
    """Processes that died while they scored a version as a shadow, by it and its checksum."""

    def reports_on(self, version_id: str, sha256: str | None = None) -> list[VersionReport]:
        """What the workers tell of a version, with this checksum if one is given."""
        found = (reports.get(version_id) for reports in self.reports.values())
        return [r for r in found if r is not None and sha256 in (None, r.sha256)]

    def is_agreed_on(self, version_id: str, sha256: str) -> bool:
        """Whether all workers that live can use this version."""
        told = self.reports_on(version_id, sha256)
        is_by_all = len(told) == len(self.reports)
        return bool(told) and is_by_all and all(report.is_ready for report in told)

    def is_given_up(self, version_id: str, sha256: str) -> bool:
        """Whether a version has cost too many processes to be a shadow any more."""
        return self.shadow_losses.get(_shadow(version_id, sha256), 0) >= SHADOW_STRIKES


class ModelReports:
    """Told by workers, read by the API. Safe to share by threads."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def tell(self, worker: str, reports: Reports, *, serving: Mapping[str, str]) -> None:
        """Say what a worker makes of versions, and which one references mean that are ready.

        What it said before is replaced; what is said of references is added to.
        """
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(keys.MODELS, worker, _REPORTS.dump_json(dict(reports)))
            if serving:
                pairs = [part for pair in serving.items() for part in pair]
                pipe.hset(keys.SERVING, items=pairs)
            pipe.execute()

    def count_failures(self, number: int) -> None:
        """Count versions that turned out useless to a worker."""
        with translated_errors():
            self._redis.hincrby(keys.COUNTERS, "models_failed", number)

    def tell_opened(self, worker: str, process: int, version_ids: Iterable[str]) -> None:
        """Say what a process of a worker has opened."""
        name = keys.opened(worker)
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(name, str(process), " ".join(version_ids))
            pipe.expire(name, OPENED_SECONDS)
            pipe.execute()

    def opened(self, worker: str) -> dict[int, frozenset[str]]:
        """What the processes of a worker said that they have opened."""
        with translated_errors():
            told = self._redis.hgetall(keys.opened(worker))
        return {int(p): frozenset(text(version_ids).split()) for p, version_ids in told.items()}

    def told_by(self, worker: str) -> Reports:
        """What one worker said last."""
        with translated_errors():
            told = self._redis.hget(keys.MODELS, worker)
        return _REPORTS.validate_json(told) if told else {}

    def known(self) -> Known:
        """What all workers said last, and what served before."""
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.MODELS)
            pipe.hgetall(keys.SERVING)
            pipe.hgetall(keys.SHADOW_LOSSES)
            reports, serving, losses = pipe.execute()
        return Known(
            reports={text(worker): _REPORTS.validate_json(r) for worker, r in reports.items()},
            serving={text(reference): text(version) for reference, version in serving.items()},
            shadow_losses={text(shadow): int(count) for shadow, count in losses.items()},
        )

    def usage(self) -> dict[str, Usage]:
        """Jobs and rows by model version."""
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.USAGE)
            pipe.hgetall(keys.SPEEDS)
            counts, speeds = pipe.execute()
        found: dict[str, dict[str, float]] = {}
        for name, count in counts.items():
            record, _, what = text(name).partition(" ")
            used = found.setdefault(_version_id(record), {})
            used[what] = used.get(what, 0) + int(count)
        for name, speed in speeds.items():
            if text(name) == _version_id(text(name)):
                found.setdefault(text(name), {})["rows_per_second"] = float(speed)
        return {version_id: _USAGE.validate_python(counts) for version_id, counts in found.items()}

    def begin_shadowing(
        self, worker: str, process: int, version_id: str, sha256: str
    ) -> int | None:
        """Note that a process is about to score a version as a shadow: should it die, that is held
        against the version. Returns how many have died so; None while another process of the worker
        has its turn, or has died in it and nobody knows yet."""
        shadow = _shadow(version_id, sha256)
        turn = f"{worker} {shadow}"
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hsetnx(keys.SHADOWING, turn, process)
            pipe.hget(keys.SHADOWING, turn)
            pipe.hget(keys.SHADOW_LOSSES, shadow)
            _, holder, losses = pipe.execute()
        return int(losses or 0) if int(holder) == process else None

    def end_shadowing(self, worker: str, version_id: str, sha256: str) -> None:
        """Note that the process whose turn it was has done with the shadow."""
        with translated_errors():
            self._redis.hdel(keys.SHADOWING, f"{worker} {_shadow(version_id, sha256)}")

    def count_comparison(self, found: Comparison) -> None:
        """Count in how some rows of a shadow compare."""
        pair = f"{found.version_id} {found.shadow_version_id} {found.output}"
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hincrby(keys.COMPARISONS, f"{pair} rows", found.rows)
            pipe.hincrby(keys.COMPARISONS, f"{pair} agreed", found.agreed)
            pipe.hincrby(keys.COMPARISONS, f"{pair} skipped", found.skipped)
            total = (found.difference or 0.0) * found.rows
            # The server adds no infinite numbers.
            if found.difference is not None and math.isfinite(total):
                pipe.hincrbyfloat(keys.COMPARISONS, f"{pair} difference", total)
            pipe.execute()

    def comparisons(self) -> list[Comparison]:
        """How all shadows compare so far."""
        with translated_errors():
            told = self._redis.hgetall(keys.COMPARISONS)
        found: dict[str, dict[str, float]] = {}
        for name, value in told.items():
            pair, _, what = text(name).rpartition(" ")
            found.setdefault(pair, {})[what] = float(value)
        return [_comparison(pair, sums) for pair, sums in sorted(found.items())]


def _shadow(version_id: str, sha256: str) -> str:
    return f"{version_id} {sha256}"


def _version_id(recorded: str) -> str:
    """The version that a record is about, whatever was asked of it: see `JobSpec.speed_id`."""
    return "/".join(recorded.split("/")[:2])


def _comparison(pair: str, sums: Mapping[str, float]) -> Comparison:
    version_id, shadow_version_id, output = pair.split(" ")
    rows, difference = int(sums.get("rows", 0)), sums.get("difference")
    return Comparison(
        version_id=version_id,
        shadow_version_id=shadow_version_id,
        output=output,
        rows=rows,
        agreed=int(sums.get("agreed", 0)),
        skipped=int(sums.get("skipped", 0)),
        difference=difference / rows if rows and difference is not None else None,
    )


_USAGE = TypeAdapter(Usage)
