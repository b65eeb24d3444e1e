"""Movable names for the versions of one model, and which of them a job gets.

    models/<name>/aliases.json    {"champion": "3", "canary": {"version": "4", "weight": 0.05},
                                   "challenger": {"version": "5", "shadow": true}}

A job that names only the model goes to an alias with a weight with that probability, else to
`champion` or, where there is none, to the newest version that is neither a shadow nor has a weight.
Which one is told by the job's id alone, so that it can be told again.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_serializer, model_validator

from shared.manifest import NAME_PATTERN, VERSION_PATTERN

CHAMPION = "champion"
"""The alias that gets what no other alias has a weight for."""


class Alias(BaseModel):
    """Where one alias points. Written as the version alone if that is all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[str, Field(pattern=f"^{VERSION_PATTERN}$")]
    weight: Annotated[float | None, Field(gt=0, le=1)] = None
    """Share of the jobs that name only the model."""
    shadow: bool = False
    """Whether the version scores what others are asked for, to be compared with them."""

    @model_validator(mode="before")
    @classmethod
    def _parse_version_alone(cls, value: Any) -> Any:
        return {"version": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> "Alias":
        if self.shadow and self.weight is not None:
            raise ValueError("a shadow answers no job, so it has no weight")
        return self

    @model_serializer
    def _dump(self) -> str | dict[str, Any]:
        further: dict[str, Any] = {"weight": self.weight} if self.weight is not None else {}
        further |= {"shadow": True} if self.shadow else {}
        return {"version": self.version} | further if further else self.version


AliasName = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]


class Aliases(RootModel[dict[AliasName, Alias]]):
    """All aliases of one model."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _check(self) -> "Aliases":
        if sum(weight for _, weight in self._weights()) > 1 + 1e-9:
            raise ValueError("the weights add up to more than 1")
        if sum(alias.shadow for alias in self.root.values()) > 1:
            raise ValueError("there is more than one shadow")
        return self

    @property
    def default(self) -> str | None:
        """The alias of jobs that name only the model and that no weight takes; None for the newest
        version."""
        return CHAMPION if CHAMPION in self.root else None

    def choose(self, job_id: str) -> str | None:
        """The alias that a job gets which names only the model; None for the newest version."""
        weights = list(self._weights())
        # Nearly always there are none, and then there is no need to hash the ids of small jobs.
        point = position(job_id) if weights else 0.0
        for name, weight in weights:
            if point < weight:
                return name
            point -= weight
        return self.default

    def shadow(self) -> Alias | None:
        """The alias whose version is compared with those that answer."""
        return next((alias for alias in self.root.values() if alias.shadow), None)

    def unclaimed(self, versions: Sequence[str]) -> list[str]:
        """Those of these versions that a name alone may mean where there is no champion: all but
        what shadows and weights point to, for these are about to be tried out. All, if none is
        left.
        """
        claimed = {
            alias.version
            for name, alias in self.root.items()
            if alias.shadow or (alias.weight is not None and name != CHAMPION)
        }
        return [version for version in versions if version not in claimed] or list(versions)

    def of(self, version: str) -> list[str]:
        """Names of the aliases that point to a version, sorted."""
        return sorted(name for name, alias in self.root.items() if alias.version == version)

    def _weights(self) -> Iterator[tuple[str, float]]:
        """Aliases but the champion that have a weight, in an order that does not change."""
        for name, alias in sorted(self.root.items()):
            if name != CHAMPION and alias.weight is not None:
                yield name, alias.weight


def position(job_id: str) -> float:
    """A number from 0 up to 1 that a job's id stands for, as even as a hash makes it."""
    digest = hashlib.sha256(job_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
