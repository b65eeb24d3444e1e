"""What exists on disk under `models/`: finds versions and aliases. Changes: `repository_editor.py`.

    models/<name>/<version>/manifest.json
                            model.skops | model.joblib | model.onnx | model.ensemble
    models/<name>/aliases.json

A version's directory is written aside and renamed into place, so it is there whole or not at
all, and it is never changed afterwards. Aliases move: their file is replaced by another.
"""

import hashlib
import logging
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from shared.aliases import CHAMPION, Aliases
from shared.errors import AliasError, ManifestError, ModelNotFoundError, quoted
from shared.manifest import NAME_PATTERN, VERSION_PATTERN, Manifest

logger = logging.getLogger(__name__)

MANIFEST_FILE = "manifest.json"
ALIASES_FILE = "aliases.json"
_REFERENCE = re.compile(
    rf"(?P<name>{NAME_PATTERN})(?::(?P<version>{VERSION_PATTERN})|@(?P<alias>{NAME_PATTERN}))?"
)

SETTLED_NS = 1_000_000_000
"""A directory or file that changed less than a second before it was read may change again without
its time of change showing it: clocks of file systems are coarse."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A model reference: a name, and at most one of an alias and a version."""

    name: str
    alias: str | None = None
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Raises ModelNotFoundError for what is none."""
        match = _REFERENCE.fullmatch(text)
        if not match:
            raise ModelNotFoundError(
                f"{quoted(text)} is no model reference; write 'name', 'name@alias' or "
                "'name:version'."
            )
        return cls(**match.groupdict())

    def __str__(self) -> str:
        return f"{self.name}@{self.alias}" if self.alias else self.name


class ModelRepository:
    """Reads model versions and aliases under one directory. Safe to share by threads.

    What was read is kept for as long as the time of change on disk says that it still holds.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._versions: dict[str, tuple[int, list[str]]] = {}
        self._manifests: dict[str, tuple[int, Manifest]] = {}
        self._aliases: dict[str, tuple[int, Aliases]] = {}

    def names(self) -> list[str]:
        """Names of all models that have at least one version, sorted."""
        if not self.root.is_dir():
            return []
        names = (entry.name for entry in self.root.iterdir() if entry.is_dir())
        return sorted(n for n in names if re.fullmatch(NAME_PATTERN, n) and self.versions(n))

    def versions(self, name: str) -> list[str]:
        """Versions of a model, oldest first; empty when there is no such model."""
        if not re.fullmatch(NAME_PATTERN, name):
            return []
        directory = os.path.join(self.root, name)
        try:
            now_at = os.stat(directory).st_mtime_ns
        except OSError:
            return []
        changed_at, versions = self._versions.get(name, (0, []))
        if changed_at != now_at:
            home = Path(directory)
            try:
                found = [d.name for d in home.iterdir() if re.fullmatch(VERSION_PATTERN, d.name)]
            except OSError:  # it has gone since, or is no directory
                return []
            versions = [version for version in found if (home / version / MANIFEST_FILE).exists()]
            versions.sort(key=int)
            # A version that is being copied file by file will be there without another change.
            if _is_settled(now_at) and len(versions) == len(found):
                self._versions[name] = now_at, versions
        return versions

    def aliases(self, name: str) -> Aliases:
        """The aliases of a model; none if there is no file of them.

        If it can't be read they are what they were when it last could be. Raises AliasError.
        """
        path = os.path.join(self.root, name, ALIASES_FILE)
        try:
            changed_at = os.stat(path).st_mtime_ns
        except OSError:
            return Aliases({})
        kept_at, kept = self._aliases.get(path, (0, None))
        if kept is not None and kept_at == changed_at:
            return kept
        try:
            aliases = Aliases.model_validate_json(Path(path).read_bytes())
        except (OSError, ValidationError) as error:
            if kept is not None:
                logger.warning("aliases can't be read", extra={"model": name, "reason": str(error)})
                return kept
            raise AliasError(
                f"The aliases of '{name}' in its {ALIASES_FILE} can't be read; set one by 'rowmill "
                "models alias', which begins the file anew."
            ) from error
        self._aliases[path] = changed_at if _is_settled(changed_at) else 0, aliases
        return aliases

    def resolve(self, reference: str) -> Manifest:
        """The manifest that a model reference means by what lies on disk, whether or not the
        version can be loaded. A name alone means its champion or, without one, its newest version.

        Raises ModelNotFoundError, ManifestError, AliasError.
        """
        wanted = Reference.parse(reference)
        return self.manifest(wanted.name, self.version_of(wanted))

    def version_of(self, wanted: Reference) -> str:
        """The version that a reference means by what lies on disk. Raises as `resolve`."""
        versions = self.versions(wanted.name)
        if not versions:
            known = ", ".join(self.names()) or "none yet"
            raise ModelNotFoundError(f"There is no model '{wanted.name}'; there are: {known}.")
        version = wanted.version or self._aliased(wanted) or self._newest(wanted.name, versions)
        if version not in versions:
            raise ModelNotFoundError(
                f"Model '{wanted.name}' has no version '{version}'; it has {', '.join(versions)}."
            )
        return version

    def _newest(self, name: str, versions: list[str]) -> str:
        return self.aliases(name).unclaimed(versions)[-1]

    def _aliased(self, wanted: Reference) -> str | None:
        aliases = self.aliases(wanted.name).root
        if wanted.alias and wanted.alias not in aliases:
            there_are = f"it has {', '.join(sorted(aliases))}" if aliases else "it has none"
            raise ModelNotFoundError(
                f"Model '{wanted.name}' has no alias '{wanted.alias}'; {there_are}."
            )
        alias = aliases.get(wanted.alias or CHAMPION)
        return alias.version if alias else None

    def manifest(self, name: str, version: str) -> Manifest:
        """The manifest of one version. Raises ManifestError when it can't be trusted."""
        path = os.path.join(self.root, name, version, MANIFEST_FILE)
        try:
            changed_at = os.stat(path).st_mtime_ns
            kept_at, kept = self._manifests.get(path, (0, None))
            if kept is not None and kept_at == changed_at:
                return kept
            manifest = Manifest.model_validate_json(Path(path).read_bytes())
        except (OSError, ValidationError) as error:
            raise ManifestError(f"The manifest of '{name}/{version}' can't be read.") from error
        if (manifest.name, manifest.version) != (name, version):
            raise ManifestError(
                f"The manifest in '{name}/{version}' says it is '{manifest.version_id}'."
            )
        if _is_settled(changed_at):
            self._manifests[path] = changed_at, manifest
        return manifest

    def artifact_path(self, manifest: Manifest) -> Path:
        """Where a version's artifact lies. The file's content is not checked here.

        Raises ManifestError for a link that leads out of the version's directory.
        """
        home = self.root / manifest.name / manifest.version
        path = home / manifest.artifact.file
        if path.is_symlink() and path.resolve().parent != home.resolve():
            raise ManifestError(
                f"The artifact of '{manifest.version_id}' lies outside of its directory; copy it "
                "into it."
            )
        return path


def _is_settled(changed_at_ns: int) -> bool:
    return time.time_ns() - changed_at_ns > SETTLED_NS


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
