"""What exists on disk under `models/`: finds versions and adds new ones.

    models/<name>/<version>/manifest.json
                            model.skops | model.joblib | model.onnx

A version's directory is written aside and renamed into place, so it is there whole or not at
all, and it is never changed afterwards.
"""

import hashlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from shared.errors import ManifestError, ModelNotFoundError, PublishError, quoted
from shared.manifest import NAME_PATTERN, VERSION_PATTERN, Artifact, ArtifactFormat, Manifest

logger = logging.getLogger(__name__)

MANIFEST_FILE = "manifest.json"
_REFERENCE = re.compile(rf"(?P<name>{NAME_PATTERN})(?::(?P<version>{VERSION_PATTERN}))?")

SETTLED_NS = 1_000_000_000
"""A directory or file that changed less than a second before it was read may change again without
its time of change showing it: clocks of file systems are coarse."""


class ModelRepository:
    """Reads and publishes model versions under one directory. Safe to share by threads.

    What was read is kept for as long as the time of change on disk says that it still holds.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._versions: dict[str, tuple[int, list[str]]] = {}
        self._manifests: dict[str, tuple[int, Manifest]] = {}

    def names(self) -> list[str]:
        """Names of all models that have at least one version, sorted."""
        if not self._root.is_dir():
            return []
        names = (entry.name for entry in self._root.iterdir() if entry.is_dir())
        return sorted(n for n in names if re.fullmatch(NAME_PATTERN, n) and self.versions(n))

    def versions(self, name: str) -> list[str]:
        """Versions of a model, oldest first; empty when there is no such model."""
        if not re.fullmatch(NAME_PATTERN, name):
            return []
        directory = os.path.join(self._root, name)
        try:
            now_at = os.stat(directory).st_mtime_ns
        except OSError:
            return []
        changed_at, versions = self._versions.get(name, (0, []))
        if changed_at != now_at:
            home = Path(directory)
            found = [d.name for d in home.iterdir() if re.fullmatch(VERSION_PATTERN, d.name)]
            versions = [version for version in found if (home / version / MANIFEST_FILE).exists()]
            versions.sort(key=int)
            # A version that is being copied file by file will be there without another change.
            if _is_settled(now_at) and len(versions) == len(found):
                self._versions[name] = now_at, versions
        return versions

    def newest(self) -> list[Manifest]:
        """The newest version of every model whose manifest can be read; others are logged."""
        manifests = []
        for name in self.names():
            try:
                manifests.append(self.manifest(name, self.versions(name)[-1]))
            except ManifestError as error:
                logger.warning("model left out", extra={"model": name, "reason": str(error)})
        return manifests

    def resolve(self, reference: str) -> Manifest:
        """The manifest that `name` (its newest version) or `name:version` means right now.

        Raises ModelNotFoundError, ManifestError.
        """
        match = _REFERENCE.fullmatch(reference)
        if not match:
            raise ModelNotFoundError(
                f"{quoted(reference)} is no model reference; write 'name' or 'name:version'."
            )
        name, version = match["name"], match["version"]
        versions = self.versions(name)
        if not versions:
            known = ", ".join(self.names()) or "none yet"
            raise ModelNotFoundError(f"There is no model '{name}'; there are: {known}.")
        if version is not None and version not in versions:
            raise ModelNotFoundError(
                f"Model '{name}' has no version '{version}'; it has {', '.join(versions)}."
            )
        return self.manifest(name, version or versions[-1])

    def manifest(self, name: str, version: str) -> Manifest:
        """The manifest of one version. Raises ManifestError when it can't be trusted."""
        path = os.path.join(self._root, name, version, MANIFEST_FILE)
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
        """Where a version's artifact lies. The file's content is not checked here."""
        return self._root / manifest.name / manifest.version / manifest.artifact.file

    def publish(
        self,
        name: str,
        write_artifact: Callable[[Path], tuple[str, ...]],
        *,
        artifact_format: ArtifactFormat,
        describe: Callable[[str, Artifact], Manifest],
    ) -> Manifest:
        """Add a version and return its manifest. Atomic; two publishers never share a version.

        `write_artifact(path)` writes the fitted model and returns the types that its publisher
        vouches for; `describe(version, artifact)` builds the manifest. Raises PublishError for a
        name that can't be used, and what the two raise.
        """
        if not re.fullmatch(NAME_PATTERN, name):
            raise PublishError(
                f"{quoted(name)} can't name a model; use a-z, 0-9, '-' and '_', at most 64."
            )
        home = self._root / name
        home.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".publishing-", dir=home))
        try:
            path = aside / f"model.{artifact_format}"
            trusted_types = write_artifact(path)
            artifact = Artifact(
                file=path.name,
                format=artifact_format,
                sha256=file_sha256(path),
                bytes=path.stat().st_size,
                trusted_types=trusted_types,
            )
            return self._move_into_place(aside, home, lambda v: describe(v, artifact))
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _move_into_place(
        self, aside: Path, home: Path, describe: Callable[[str], Manifest]
    ) -> Manifest:
        """Rename `aside` to the next free version; rename fails where another one was quicker."""
        aside.chmod(0o755)
        while True:
            taken = [int(d.name) for d in home.iterdir() if re.fullmatch(VERSION_PATTERN, d.name)]
            version = str(max(taken, default=0) + 1)
            manifest = describe(version)
            (aside / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n")
            try:
                os.rename(aside, home / version)
            except OSError:
                if (home / version).exists():
                    continue
                raise
            return manifest


def _is_settled(changed_at_ns: int) -> bool:
    return time.time_ns() - changed_at_ns > SETTLED_NS


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
