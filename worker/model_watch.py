"""Watches the model repository from a worker's main process.

A version that new jobs may get is tried in a process of its own as soon as it is there, and what
came of it is told: the API gives it to jobs when it is ready, and the processes of the pool open it
beside what they have.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from celery import bootsteps

from shared.aliases import Aliases
from shared.errors import AliasError, ManifestError, ModelError, StoreError
from shared.job_store.model_reports import ModelReports, VersionReport
from shared.manifest import Manifest
from shared.model_repository import ModelRepository, Reference
from worker.model_trial import POLL_SECONDS, Trial, failure

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often is looked: a new version is tried within a second."""

SETTLE_SECONDS = 60.0
SETTLE_FOR_NEWS_SECONDS = 5.0
"""How long a worker puts off its start for versions that are being tried: those that serve, and
others beside them. One that hangs must not keep the good ones from serving."""

SLOW_SECONDS = 10.0
MOST_TRIALS = 8
"""A trial that takes longer leaves its place to another, up to so many."""

OPEN_SECONDS = 60.0
"""How long is waited for a worker's processes to open a version that is sound. One that can't will
say so with its jobs."""

RETRY_SECONDS = 30.0
MAX_RETRY_SECONDS = 300.0
"""When a version that failed is tried again, and at the latest: its machine may have been short of
memory or time. Each time it takes twice as long as before."""

RETELL_SECONDS = 5.0
"""How often is told what was told before: the store may have lost it."""

Attempt = Callable[[Manifest], VersionReport]

_File = tuple[int, int] | None
"""When an artifact changed, and its size; None if there is none."""


class ModelWatch:
    """What one worker makes of the versions of a repository."""

    def __init__(
        self,
        repository: ModelRepository,
        reports: ModelReports,
        *,
        worker: str,
        attempt: Attempt,
        trial_seconds: float,
        at_once: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`attempt`: opens and tries a version, in a process of its own, of which there are so many
        `at_once`."""
        self._repository = repository
        self._reports = reports
        self._worker = worker
        self._attempt = attempt
        self._trial_seconds = trial_seconds
        self._at_once = at_once
        self._clock = clock
        self._trials: dict[str, tuple[Manifest, Trial]] = {}
        self._begun_at: dict[str, float] = {}
        self._tried: dict[str, VersionReport] = {}
        self._files: dict[str, tuple[_File, _File]] = {}
        self._retries: dict[str, tuple[float, float]] = {}
        self._sound_since: dict[str, float] = {}
        self._open: set[str] = set()
        self._failures = 0
        self._unreadable_aliases: set[str] = set()
        self._told: tuple[dict[str, VersionReport], dict[str, str]] = {}, {}
        self._told_at = float("-inf")

    # --- rounds

    def settle(self) -> list[Manifest]:
        """Try all there is to try, for a while, and return the versions that are ready.

        They are taken to be opened before there are processes to do so.
        """
        began, serving = self._clock(), self._served_before()
        self._look()
        while any(self._is_waited_for(v, began, serving) for v in self._trials):
            time.sleep(POLL_SECONDS)
            self._look()
        wanted = dict(self._wanted())
        ready = {v: manifest for v, manifest in wanted.items() if self._is_sound(v)}
        self._open.update(ready)
        return [manifest for manifest in ready.values() if isinstance(manifest, Manifest)]

    def _served_before(self) -> Mapping[str, str]:
        try:
            return self._reports.known().serving
        except StoreError:
            return {}

    def _is_waited_for(self, version_id: str, began: float, serving: Mapping[str, str]) -> bool:
        """Whether the worker's start is put off for a trial."""
        name, _, version = version_id.partition("/")
        served = {v for reference, v in serving.items() if reference.partition("@")[0] == name}
        is_news = served and version not in served
        seconds = SETTLE_FOR_NEWS_SECONDS if is_news else SETTLE_SECONDS
        return self._clock() - began < seconds

    def round(self, alive: Collection[int] = ()) -> None:
        """Look for what is new, and tell. `alive`: the worker's processes. Raises StoreError."""
        self._look()
        if self._failures:
            self._reports.count_failures(self._failures)
            self._failures = 0
        self._hear_of_opened(alive)
        told = self._current(), dict(self._meant_and_ready())
        if told != self._told or self._clock() - self._told_at > RETELL_SECONDS:
            reports, meant = told
            serving = self._agreed_on(reports, meant)
            self._reports.tell(self._worker, reports, serving=serving)
            self._told, self._told_at = told, self._clock()

    def _current(self) -> dict[str, VersionReport]:
        """What there is to tell of each version."""
        wanted = {version_id for version_id, _ in self._wanted()}
        trying = {
            version_id: VersionReport(sha256=manifest.artifact.sha256, is_open=False)
            for version_id, (manifest, _) in self._trials.items()
        }
        # What is tried again is what it was until then.
        return trying | {
            version_id: replace(
                report, is_wanted=version_id in wanted, is_open=version_id in self._open
            )
            for version_id, report in self._tried.items()
        }

    def _hear_of_opened(self, alive: Collection[int]) -> None:
        """Learn which versions all processes have opened."""
        waiting = [v for v in self._tried if self._is_sound(v) and v not in self._open]
        if not waiting:
            return
        opened = self._reports.opened(self._worker)
        for version_id in waiting:
            is_by_all = all(version_id in opened.get(process, ()) for process in alive)
            since = self._sound_since.setdefault(version_id, self._clock())
            if is_by_all or self._clock() - since > OPEN_SECONDS:
                self._open.add(version_id)

    def _agreed_on(
        self, reports: Mapping[str, VersionReport], meant: Mapping[str, str]
    ) -> dict[str, str]:
        """References and the versions they mean that all workers can use."""
        known = self._reports.known()
        known = replace(known, reports={**known.reports, self._worker: reports})
        agreed = {}
        for reference, version in meant.items():
            version_id = f"{reference.partition('@')[0]}/{version}"
            if known.is_agreed_on(version_id, reports[version_id].sha256):
                agreed[reference] = version
        return agreed

    def stop(self) -> None:
        """End what is under way."""
        for _, trial in self._trials.values():
            trial.stop()
        self._trials.clear()

    def _look(self) -> None:
        """Hear of trials that are over and begin others."""
        self._hear()
        self._forget()
        # One by one: what is noted of a version decides whether an older one is wanted.
        for version_id, manifest in self._wanted():
            if isinstance(manifest, ModelError):
                self._note(version_id, failure(manifest, ""))
            elif self._has_place() and not self._is_known(version_id, manifest):
                file = self._file(manifest)
                self._files[version_id] = file, file
                trial = Trial(manifest, self._attempt, seconds=self._trial_seconds)
                self._trials[version_id] = manifest, trial
                self._begun_at[version_id] = self._clock()

    def _has_place(self) -> bool:
        quick = [v for v in self._trials if self._clock() - self._begun_at[v] < SLOW_SECONDS]
        return len(quick) < self._at_once and len(self._trials) < MOST_TRIALS

    def _forget(self) -> None:
        """Forget what is known of versions that are gone."""
        for version_id in list(self._tried):
            name, _, version = version_id.partition("/")
            if version not in self._repository.versions(name):
                del self._tried[version_id]
                self._open.discard(version_id)
                for known in (self._files, self._retries, self._sound_since):
                    known.pop(version_id, None)

    def _hear(self) -> None:
        for version_id, (_, trial) in list(self._trials.items()):
            if (report := trial.report()) is not None:
                del self._trials[version_id]
                self._note(version_id, report)

    def _note(self, version_id: str, report: VersionReport) -> None:
        before = self._tried.get(version_id)
        if report.has_failed:
            self._put_off(version_id)
        if before == report:
            return
        if before is not None and before.sha256 != report.sha256:
            self._open.discard(version_id)
        self._tried[version_id] = report
        if report.is_sound:
            self._retries.pop(version_id, None)
            logger.info("model version ready", extra={"model": version_id})
            return
        self._failures += 1
        self._open.discard(version_id)
        self._sound_since.pop(version_id, None)
        fields = {"model": version_id, "code": report.code, "reason": report.detail}
        logger.error("model version can't serve", extra=fields)

    def _put_off(self, version_id: str) -> None:
        """Note when a version that failed is tried again."""
        _, pause = self._retries.get(version_id, (0.0, RETRY_SECONDS / 2))
        pause = min(2 * pause, MAX_RETRY_SECONDS)
        self._retries[version_id] = self._clock() + pause, pause

    def _is_known(self, version_id: str, manifest: Manifest) -> bool:
        if version_id in self._trials:
            return True
        tried = self._tried.get(version_id)
        if tried is None or tried.sha256 != manifest.artifact.sha256:
            return False
        if self._is_another_file(version_id, manifest):
            return False
        again_at, _ = self._retries.get(version_id, (float("inf"), 0.0))
        return tried.is_sound or self._clock() < again_at

    def _is_another_file(self, version_id: str, manifest: Manifest) -> bool:
        """Whether the artifact is not the one that was tried, as where a directory is copied file
        by file, and has not changed since the last look."""
        now = self._file(manifest)
        tried, seen = self._files.get(version_id, (now, now))
        self._files[version_id] = tried, now
        return now == seen and now != tried

    def _file(self, manifest: Manifest) -> _File:
        try:
            found = self._repository.artifact_path(manifest).stat()
        except (OSError, ManifestError):
            return None
        return found.st_ctime_ns, found.st_size

    def _is_sound(self, version_id: str) -> bool:
        return version_id in self._tried and self._tried[version_id].is_sound

    # --- what new jobs may get

    def _wanted(self) -> Iterator[tuple[str, Manifest | ModelError]]:
        """The versions that references mean or may mean next: the newest, too, beside a champion.
        Since a newest one is useless, the one before it."""
        for name, version in self._versions():
            try:
                manifest = self._repository.manifest(name, version)
                yield manifest.version_id, manifest
            except ManifestError as error:
                yield f"{name}/{version}", error

    def _versions(self) -> Iterator[tuple[str, str]]:
        for name in self._repository.names():
            versions, aliases = self._repository.versions(name), self._aliases(name)
            for target in aliases.root.values():
                if target.version in versions:
                    yield name, target.version
            newest = aliases.unclaimed(versions) if aliases.default is None else versions
            for version in reversed(newest):
                yield name, version
                tried = self._tried.get(f"{name}/{version}")
                if tried is None or not tried.has_failed:
                    break

    def _meant_and_ready(self) -> Iterator[tuple[str, str]]:
        """References and the versions they mean that this worker can use."""
        for name in self._repository.names():
            aliases = self._aliases(name)
            for alias, target in aliases.root.items():
                if self._is_usable(f"{name}/{target.version}"):
                    yield str(Reference(name=name, alias=alias)), target.version
            if aliases.default is not None:
                continue
            versions = aliases.unclaimed(self._repository.versions(name))[::-1]
            newest = next((v for v in versions if self._is_usable(f"{name}/{v}")), None)
            if newest is not None:
                yield name, newest

    def _is_usable(self, version_id: str) -> bool:
        return self._is_sound(version_id) and version_id in self._open

    def _aliases(self, name: str) -> Aliases:
        try:
            aliases = self._repository.aliases(name)
        except AliasError as error:
            if name not in self._unreadable_aliases:
                fields = {"model": name, "reason": str(error)}
                logger.warning("aliases left out", extra=fields)
                self._unreadable_aliases.add(name)
            return Aliases({})
        self._unreadable_aliases.discard(name)
        return aliases


class ModelWatchStep(bootsteps.StartStopStep):
    """Ties the watch to the life of Celery's worker, whose parts come without types."""

    requires = ("celery.worker.components:Timer", "celery.worker.components:Pool")
    watch: ModelWatch
    make: Callable[[], ModelWatch]
    is_over = False

    @classmethod
    def bound(cls, watch: Callable[[], ModelWatch]) -> type["ModelWatchStep"]:
        """The step for this watch."""
        return type("BoundWatchStep", (cls,), {"make": staticmethod(watch)})

    def start(self, worker: Any) -> None:
        """Look every second from now on."""
        self.watch = self.make()
        worker.timer.call_repeatedly(LOOK_SECONDS, self._round, (worker,))

    def stop(self, worker: Any) -> None:  # noqa: ARG002
        """Tell nothing more: the worker signs off."""
        self.is_over = True
        self.watch.stop()

    def _round(self, worker: Any) -> None:
        if self.is_over:
            return
        # Of Celery's pool, see `SupervisorStep`.
        children = worker.pool._pool._pool
        try:
            self.watch.round([child.pid for child in children if child.exitcode is None])
        except StoreError as error:
            logger.warning("store out of reach", extra={"reason": str(error)})
