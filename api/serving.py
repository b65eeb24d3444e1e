"""Which version a model reference means for a job: the wanted one as soon as workers can use it.

A version that workers have not tried yet, or can't use, gets no jobs but those that ask for it by
its number; what the reference meant before goes on serving.
"""

import time
from dataclasses import dataclass, field
from enum import StrEnum

from shared.aliases import CHAMPION, Aliases
from shared.errors import ManifestError, ModelNotFoundError, StoreError
from shared.job_store.model_reports import Known, ModelReports
from shared.manifest import Manifest
from shared.model_repository import ModelRepository, Reference

RECENT_SECONDS = 0.5
"""What workers tell changes when a version is published; asking at every small job would double its
round trips to the store."""


class VersionState(StrEnum):
    """What the live workers make of a version, all together."""

    READY = "ready"
    TRYING = "trying"
    """Some worker opens it and scores its example, or has not looked at it yet."""
    FAILED = "failed"
    """Some worker can't use it."""
    UNTRIED = "untried"
    """No worker has looked at it: it is neither the newest version nor an alias's, or no worker
    lives."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a job is made for."""

    manifest: Manifest
    warnings: tuple[str, ...] = ()
    """What the workers say of the version to those who use it."""
    shadow: Manifest | None = None
    """The version that is to be compared with this one, if any."""


@dataclass(frozen=True, kw_only=True)
class _Moment:
    """What was found out since what is known was read."""

    read_at: float
    known: Known
    served: dict[Reference, Served] = field(default_factory=dict)
    aliases: dict[str, Aliases] = field(default_factory=dict)


class Serving:
    """Resolves model references for jobs. Safe to share by threads."""

    def __init__(self, repository: ModelRepository, reports: ModelReports) -> None:
        self._repository = repository
        self._reports = reports
        self._moment = _Moment(read_at=float("-inf"), known=Known())
        self._away_at = float("-inf")

    def resolve(self, text: str, job_id: str) -> Served:
        """What a reference means for this job: for the same id the same, as long as nothing moves.

        Raises ModelNotFoundError, ManifestError, AliasError, StoreUnavailableError.
        """
        moment, reference = self._recent(), Reference.parse(text)
        try:
            return self._kept(self._routed(reference, job_id, moment), moment)
        except ModelNotFoundError:
            if reference.alias or reference.version:
                raise
            # An alias that the caller did not name has gone since the aliases were read.
            moment.aliases.pop(reference.name, None)
            return self._kept(self._routed(reference, job_id, moment), moment)

    def _kept(self, reference: Reference, moment: _Moment) -> Served:
        if reference not in moment.served:
            moment.served[reference] = self._served(reference, moment)
        return moment.served[reference]

    def meant(self, text: str) -> Manifest:
        """What a reference means for jobs that no weight takes elsewhere; what lies on disk says so
        while the store is out of reach.

        Raises ModelNotFoundError, ManifestError, AliasError.
        """
        reference = Reference.parse(text)
        moment = self._recent_if_there()
        if moment is None:
            return self._repository.resolve(text)
        if not (reference.alias or reference.version):
            default = self._repository.aliases(reference.name).default
            reference = Reference(name=reference.name, alias=default)
        return self._usable(reference, moment)

    def _recent(self) -> _Moment:
        now = time.monotonic()
        if now - self._moment.read_at > RECENT_SECONDS:
            self._moment = _Moment(read_at=now, known=self._reports.known())
        return self._moment

    def _recent_if_there(self) -> _Moment | None:
        """None while the store is out of reach. To find that out takes a while, too long to do it
        for each model of a list."""
        if time.monotonic() - self._away_at <= RECENT_SECONDS:
            return None
        try:
            return self._recent()
        except StoreError:
            self._away_at = time.monotonic()
            return None

    def _routed(self, reference: Reference, job_id: str, moment: _Moment) -> Reference:
        """The alias that a name alone means for a job, or the name where it means the newest."""
        if reference.alias or reference.version:
            return reference
        name = reference.name
        if name not in moment.aliases:
            moment.aliases[name] = self._repository.aliases(name)
        aliases = moment.aliases[name]
        chosen, default = aliases.choose(job_id), aliases.default
        if chosen is not None and chosen != default:
            version = aliases.root[chosen].version
            if self._is_ready(name, version, moment):
                return Reference(name=name, alias=chosen)
        return Reference(name=name, alias=default)

    def _is_ready(self, name: str, version: str, moment: _Moment) -> bool:
        return state_of(self._repository, name, version, moment.known) is VersionState.READY

    def _served(self, reference: Reference, moment: _Moment) -> Served:
        manifest = self._usable(reference, moment)
        reports = moment.known.reports_on(manifest.version_id, manifest.artifact.sha256)
        warnings = tuple(dict.fromkeys(report.warning for report in reports if report.warning))
        shadow = None if reference.version else self._shadow(manifest, moment)
        return Served(manifest=manifest, warnings=warnings, shadow=shadow)

    def _usable(self, reference: Reference, moment: _Moment) -> Manifest:
        """The manifest of the version that is wanted, or else of the best there is."""
        name, before = reference.name, moment.known.serving.get(str(reference))
        wanted = self._wanted(reference, before)
        if reference.version:
            return self._repository.manifest(name, wanted)
        versions = self._repository.versions(name)
        # Newest first. An alias never means a newer version than it points to.
        others = (
            versions[: versions.index(wanted) + 1]
            if reference.alias
            else self._repository.aliases(name).unclaimed(versions)
        )[::-1]
        candidates = [v for v in dict.fromkeys([wanted, before, *others]) if v in versions]
        states = {v: state_of(self._repository, name, v, moment.known) for v in candidates}
        ready = [v for v in candidates if states[v] is VersionState.READY]
        # Where nobody can say, rather what served before than what nobody has tried.
        candidates.sort(key=lambda version: version != before)
        hopeful = [v for v in candidates if states[v] is not VersionState.FAILED]
        return self._repository.manifest(name, [*ready, *hopeful, wanted][0])

    def _wanted(self, reference: Reference, before: str | None) -> str:
        """The version that is wanted; what was meant before, or the next older one, if it is not
        there (yet)."""
        name = reference.name
        try:
            return self._repository.version_of(reference)
        except ModelNotFoundError:
            target = self._repository.aliases(name).root.get(reference.alias or "")
            versions = self._repository.versions(name)
            if target is None or not versions:
                raise
            # A champion is meant by who names the model alone, and did not ask for an alias.
            is_asked_for = reference.alias != CHAMPION
            older = [v for v in versions if int(v) < int(target.version)][::-1]
            found = [v for v in (before, *([] if is_asked_for else older)) if v in versions]
            if not found:
                raise
            return str(found[0])

    def _shadow(self, manifest: Manifest, moment: _Moment) -> Manifest | None:
        name = manifest.name
        alias = self._repository.aliases(name).shadow()
        if alias is None or alias.version == manifest.version:
            return None
        if not self._is_ready(name, alias.version, moment):
            return None
        shadow = self._repository.manifest(name, alias.version)
        is_given_up = moment.known.is_given_up(shadow.version_id, shadow.artifact.sha256)
        return None if is_given_up else shadow


def state_of(repository: ModelRepository, name: str, version: str, known: Known) -> VersionState:
    """What the live workers make of a version as it lies on disk, all together.

    It is ready when all of them are: any may be given its jobs.
    """
    try:
        manifest = repository.manifest(name, version)
    except (ManifestError, ModelNotFoundError):
        return VersionState.FAILED
    version_id, sha256 = manifest.version_id, manifest.artifact.sha256
    reports = known.reports_on(version_id, sha256)
    if any(report.has_failed for report in reports):
        return VersionState.FAILED
    if known.is_agreed_on(version_id, sha256):
        return VersionState.READY
    return VersionState.TRYING if reports else VersionState.UNTRIED
