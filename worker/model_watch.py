"""Watches the model repository from a worker's main process.

A version that new jobs may get is tried in a process of its own as soon as it is there, and what
came of it is told: the API gives it to jobs when it is ready, and the processes of the pool open it
beside what they have.
"""

import logging
import time
from collections.abc import Callable, Iterator
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
        self._tried: dict[str, VersionReport] = {}
        self._files: dict[str, tuple[_File, _File]] = {}
        self._failures = 0
        self._unreadable_aliases: set[str] = set()
        self._told: tuple[dict[str, VersionReport], dict[str, str]] = {}, {}
        self._told_at = float("-inf")

    # --- rounds

    def settle(self) -> list[Manifest]:
        """Try all there is to try and return the versions that are ready."""
        self._look()
        while self._trials:
            time.sleep(POLL_SECONDS)
            self._look()
        wanted = dict(self._wanted())
        ready = (w for version_id, w in wanted.items() if self._is_ready(version_id))
        return [manifest for manifest in ready if isinstance(manifest, Manifest)]

    def round(self) -> None:
        """Look for what is new, and tell. Raises StoreError."""
        self._look()
        if self._failures:
            self._reports.count_failures(self._failures)
            self._failures = 0
        trying = {
            version_id: VersionReport(sha256=manifest.artifact.sha256)
            for version_id, (manifest, _) in self._trials.items()
        }
        told = self._tried | trying, dict(self._serving())
        if told != self._told or self._clock() - self._told_at > RETELL_SECONDS:
            reports, serving = told
            self._reports.tell(self._worker, reports, serving=serving)
            self._told, self._told_at = told, self._clock()

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
            elif len(self._trials) < self._at_once and not self._is_known(version_id, manifest):
                file = self._file(manifest)
                self._files[version_id] = file, file
                trial = Trial(manifest, self._attempt, seconds=self._trial_seconds)
                self._trials[version_id] = manifest, trial

    def _forget(self) -> None:
        """Forget what is known of versions that are gone."""
        for version_id in list(self._tried):
            name, _, version = version_id.partition("/")
            if version not in self._repository.versions(name):
                del self._tried[version_id]
                self._files.pop(version_id, None)

    def _hear(self) -> None:
        for version_id, (_, trial) in list(self._trials.items()):
            if (report := trial.report()) is not None:
                del self._trials[version_id]
                self._note(version_id, report)

    def _note(self, version_id: str, report: VersionReport) -> None:
        if self._tried.get(version_id) == report:
            return
        self._tried[version_id] = report
        if report.is_ready:
            logger.info("model version ready", extra={"model": version_id})
            return
        self._failures += 1
        fields = {"model": version_id, "code": report.code, "reason": report.detail}
        logger.error("model version can't serve", extra=fields)

    def _is_known(self, version_id: str, manifest: Manifest) -> bool:
        if version_id in self._trials:
            return True
        tried = self._tried.get(version_id)
        if tried is None or tried.sha256 != manifest.artifact.sha256:
            return False
        return tried.is_ready or not self._is_another_file(version_id, manifest)

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

    def _is_ready(self, version_id: str) -> bool:
        return version_id in self._tried and self._tried[version_id].is_ready

    # --- what new jobs may get

    def _wanted(self) -> Iterator[tuple[str, Manifest | ModelError]]:
        """The versions that references mean or, since a newest one is useless, would mean."""
        for reference, version in self._meant():
            try:
                manifest = self._repository.manifest(reference.name, version)
                yield manifest.version_id, manifest
            except ManifestError as error:
                yield f"{reference.name}/{version}", error

    def _meant(self) -> Iterator[tuple[Reference, str]]:
        """Model references, each with the versions that it means or would mean."""
        for name in self._repository.names():
            versions = self._repository.versions(name)
            aliases = self._aliases(name)
            for alias, target in aliases.root.items():
                if target.version in versions:
                    yield Reference(name=name, alias=alias), target.version
            if aliases.default is not None:
                continue
            for version in reversed(versions):
                yield Reference(name=name), version
                tried = self._tried.get(f"{name}/{version}")
                if tried is None or not tried.has_failed:
                    break

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

    def _serving(self) -> Iterator[tuple[str, str]]:
        """References and the versions they mean that are ready."""
        for reference, version in self._meant():
            if self._is_ready(f"{reference.name}/{version}"):
                yield str(reference), version


class ModelWatchStep(bootsteps.StartStopStep):
    """Ties the watch to the life of Celery's worker, whose parts come without types."""

    requires = ("celery.worker.components:Timer",)
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
        worker.timer.call_repeatedly(LOOK_SECONDS, self._round)

    def stop(self, worker: Any) -> None:  # noqa: ARG002
        """Tell nothing more: the worker signs off."""
        self.is_over = True
        self.watch.stop()

    def _round(self) -> None:
        if self.is_over:
            return
        try:
            self.watch.round()
        except StoreError as error:
            logger.warning("store out of reach", extra={"reason": str(error)})
