"""The JSON beside an artifact: everything about a model version but its fitted parameters."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from shared.signature import Signature

NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,63}"
VERSION_PATTERN = r"[0-9]{1,9}"


class ArtifactFormat(StrEnum):
    """How the fitted model was written."""

    SKOPS = "skops"
    JOBLIB = "joblib"


class Artifact(BaseModel):
    """The file with the fitted model, and what must be true of it before it is opened."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """File name inside the version's directory; no separators, so it can't point outside."""
    format: ArtifactFormat
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=1)]
    trusted_types: tuple[str, ...] = ()
    """Types beyond skops' own list that its publisher vouches for, as `module.Class`."""


class Manifest(BaseModel):
    """One immutable model version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
    version: Annotated[str, Field(pattern=f"^{VERSION_PATTERN}$")]
    description: str = ""
    created_at: datetime
    artifact: Artifact
    signature: Signature
    metrics: dict[str, float] = {}
    libraries: dict[str, str] = {}
    """Versions the model was trained under, by distribution name."""

    def __hash__(self) -> int:
        """By the version alone: what is a dict here has no hash."""
        return hash((self.name, self.version))

    @property
    def version_id(self) -> str:
        """`name/version`, as directories, logs and messages spell a model version."""
        return f"{self.name}/{self.version}"
