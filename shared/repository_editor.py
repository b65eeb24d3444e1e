"""Changes what lies on disk under `models/`: adds and removes versions, moves aliases.

Every change is atomic for who reads, and one of a model's is made at a time, whoever makes it.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from shared.aliases import Alias, Aliases
from shared.errors import AliasError, ManifestError, PublishError, quoted
from shared.manifest import NAME_PATTERN, VERSION_PATTERN, Artifact, ArtifactFormat, Manifest
from shared.model_repository import (
    ALIASES_FILE,
    MANIFEST_FILE,
    ModelRepository,
    Reference,
    file_sha256,
)

REMOVED = ".removed-"
"""Before the number of a version that is gone, in the name of a file that is left of it."""


class RepositoryEditor:
    """Changes the models of one repository."""

    def __init__(self, repository: ModelRepository) -> None:
        self._repository = repository

    def publish(
        self,
        name: str,
        write_artifact: Callable[[Path], tuple[str, ...]],
        *,
        artifact_format: ArtifactFormat,
        describe: Callable[[str, Artifact], Manifest],
    ) -> Manifest:
        """Add a version and return its manifest, or that of the newest version if it is the same
        but for its number and date. Atomic; two publishers never share a version.

        `write_artifact(path)` writes the fitted model and returns the types that its publisher
        vouches for; `describe(version, artifact)` builds the manifest. Raises PublishError for a
        name that can't be used, and what the two raise.
        """
        if not re.fullmatch(NAME_PATTERN, name):
            raise PublishError(
                f"{quoted(name)} can't name a model; use a-z, 0-9, '-' and '_', at most 64."
            )
        home = self._repository.root / name
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
            with self._changing(name):
                published = self._published(name, describe, artifact)
                return published or self._move_into_place(
                    aside, home, lambda v: describe(v, artifact)
                )
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _published(
        self, name: str, describe: Callable[[str, Artifact], Manifest], artifact: Artifact
    ) -> Manifest | None:
        """The newest version if it is what is being published.

        A model with a fingerprint is known by that: the same one may be written in other bytes.
        """
        versions = self._repository.versions(name)
        if not versions:
            return None
        try:
            newest = self._repository.manifest(name, versions[-1])
        except ManifestError:
            return None
        manifest = describe(newest.version, artifact)
        if manifest.fingerprint and artifact.format is newest.artifact.format:
            manifest = describe(newest.version, newest.artifact)
        same_date = manifest.model_copy(update={"created_at": newest.created_at})
        return newest if same_date == newest else None

    def _move_into_place(
        self, aside: Path, home: Path, describe: Callable[[str], Manifest]
    ) -> Manifest:
        """Rename `aside` to the next free version; rename fails where another one was quicker."""
        aside.chmod(0o755)
        while True:
            names = (entry.name.removeprefix(REMOVED) for entry in home.iterdir())
            taken = [int(number) for number in names if re.fullmatch(VERSION_PATTERN, number)]
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

    def set_alias(self, name: str, alias: str, target: Alias | None) -> Aliases:
        """Point an alias at a version, or take it away (None); returns all there are now. Atomic.

        A file of aliases that can't be read is begun anew. Raises ModelNotFoundError, AliasError.
        """
        reference = Reference.parse(f"{name}@{alias}")
        with self._changing(name) as home:
            if target is not None:
                reference = Reference(name=name, version=target.version)
                self._repository.version_of(reference)
            known = self._aliases(name)
            if target is None and alias not in known:
                self._repository.version_of(reference)
            others = {other: to for other, to in known.items() if other != alias}
            changed = _checked(name, alias, others | ({alias: target} if target else {}))
            aside = home / f".{ALIASES_FILE}"
            aside.write_text(changed.model_dump_json(indent=2) + "\n")
            os.replace(aside, home / ALIASES_FILE)
        return changed

    def _aliases(self, name: str) -> dict[str, Alias]:
        try:
            return self._repository.aliases(name).root
        except AliasError:
            return {}

    def remove(self, name: str, version: str) -> None:
        """Delete a version; its number is not given again. Jobs that wait for it fail where it is
        not loaded.

        Raises ModelNotFoundError; AliasError for one that an alias points to.
        """
        with self._changing(name) as home:
            self._repository.version_of(Reference(name=name, version=version))
            if pointing := self._repository.aliases(name).of(version):
                raise AliasError(
                    f"Version '{version}' of '{name}' is its {', '.join(pointing)}; move the alias "
                    "first."
                )
            (home / f"{REMOVED}{version}").touch()
            # Gone at once for all who look; deleting a large file takes its time.
            aside = Path(tempfile.mkdtemp(prefix=".removing-", dir=home))
            os.rename(home / version, aside / version)
        shutil.rmtree(aside)

    @contextmanager
    def _changing(self, name: str) -> Iterator[Path]:
        """The model's directory, for one who changes what is there at a time."""
        home = self._repository.root / name
        if not home.is_dir():
            self._repository.version_of(Reference(name=name))
        directory = os.open(home, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield home
        finally:
            os.close(directory)


def _checked(name: str, alias: str, aliases: dict[str, Alias]) -> Aliases:
    """Raises AliasError for aliases that don't go together."""
    try:
        return Aliases(aliases)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise AliasError(f"Alias '{alias}' of '{name}' can't be set: {reason}.") from error
