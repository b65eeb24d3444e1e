"""The JSON beside an artifact: everything about a model version but its fitted parameters."""

import hashlib
import hmac
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.signature import Signature
from shared.statistics import TrainingStatistics

NAME_PATTERN = r"[a-z0-9][a-z0-9_-]{0,63}"
VERSION_PATTERN = r"[0-9]{1,9}"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ArtifactFormat(StrEnum):
    """How the fitted model was written."""

    SKOPS = "skops"
    JOBLIB = "joblib"
    ONNX = "onnx"
    ENSEMBLE = "ensemble"
    """No model of its own: the JSON of an `Ensemble`, which names others."""


class Artifact(BaseModel):
    """The file with the fitted model, and what must be true of it before it is opened."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """File name inside the version's directory; no separators, so it can't point outside."""
    format: ArtifactFormat
    sha256: Sha256
    bytes: Annotated[int, Field(ge=1)]
    trusted_types: tuple[str, ...] = ()
    """Types beyond skops' own list that its publisher vouches for, as `module.Class`."""
    stamp: str = ""
    """Proof that it was published by who knows the repository's trust key; see `stamp_of`."""


def stamp_of(name: str, artifact: Artifact, *, key: str) -> str:
    """Proof that who knows `key` published a file, in its format, as a version of this model
    (RFC 2104)."""
    stamped = f"{name} {artifact.format} {artifact.sha256}"
    return hmac.new(key.encode(), stamped.encode(), hashlib.sha256).hexdigest()


class Combination(StrEnum):
    """How an ensemble makes one prediction of those of its members."""

    MEAN = "mean"
    MEDIAN = "median"
    VOTE = "vote"
    """The class that most members predict."""
    STACK = "stack"
    """What a further model makes of the members' predictions."""


class Member(BaseModel):
    """A model version that an ensemble is made of, pinned by its checksum."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
    version: Annotated[str, Field(pattern=f"^{VERSION_PATTERN}$")]
    sha256: Sha256

    @property
    def version_id(self) -> str:
        return f"{self.name}/{self.version}"


class Ensemble(BaseModel):
    """Several model versions that serve as one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: Annotated[tuple[Member, ...], Field(min_length=1)]
    combination: Combination
    final: Member | None = None
    """Of a stack: the model whose features are the members' predictions, by name."""

    @model_validator(mode="after")
    def _check_final(self) -> Self:
        if (self.final is not None) != (self.combination is Combination.STACK):
            raise ValueError("a stack needs a final model, and nothing else has one")
        return self


class Manifest(BaseModel):
    """One immutable model version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
    version: Annotated[str, Field(pattern=f"^{VERSION_PATTERN}$")]
    description: str = ""
    created_at: datetime
    artifact: Artifact
    signature: Signature
    statistics: TrainingStatistics | None = None
    """What the sample showed of each feature; None for a version of an earlier Rowmill."""
    ensemble: Ensemble | None = None
    metrics: dict[str, float] = {}
    libraries: dict[str, str] = {}
    """Versions the model was trained under, by distribution name."""
    fingerprint: str = ""
    """Of the model itself, whatever the bytes of its file: equal if the same model is published
    twice."""

    def __hash__(self) -> int:
        """By the version alone: what is a dict here has no hash."""
        return hash((self.name, self.version))

    def is_stamped(self, key: str) -> bool:
        """Whether its publisher knew this key, which must not be empty."""
        stamp = stamp_of(self.name, self.artifact, key=key)
        return bool(key) and hmac.compare_digest(stamp, self.artifact.stamp)

    @property
    def version_id(self) -> str:
        """`name/version`, as directories, logs and messages spell a model version."""
        return f"{self.name}/{self.version}"
