"""A model as the server describes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One input column of a model."""

    name: str
    dtype: str
    is_nullable: bool
    example: object

    def __str__(self) -> str:
        missing = ", may be empty" if self.is_nullable else ""
        example = "" if self.example is None else f", like {self.example}"
        return f"{self.name} ({self.dtype}{missing}{example})"


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a model, and how it does."""

    version: str
    state: str
    error: str
    """Why it can't serve; empty if it can."""
    jobs: int
    rows: int
    error_rate: float | None

    def __str__(self) -> str:
        failed = "" if not self.error_rate else f", {self.error_rate:.2%} failed"
        reason = f": {self.error}" if self.error else ""
        return (
            f"{self.version} ({self.state}, {self.jobs:,} jobs, {self.rows:,} rows{failed}){reason}"
        )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How a shadow's predictions differ from those that were given, over the same rows."""

    version: str
    shadow: str
    output: str
    rows: int
    agreement: float | None
    mean_absolute_difference: float | None

    def __str__(self) -> str:
        same = "" if self.agreement is None else f", {self.agreement:.2%} the same"
        difference = self.mean_absolute_difference
        mean = "" if difference is None else f", {difference:.4g} apart on average"
        return f"{self.shadow} with {self.version} ({self.output}): {self.rows:,} rows{same}{mean}"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A named model: its versions, oldest first, and what the one that serves takes and gives."""

    name: str
    version: str
    """The one that is described."""
    versions: tuple[Version, ...]
    latest: str
    aliases: Mapping[str, str]
    """The version of each, with its weight or that it is a shadow."""
    comparisons: tuple[Comparison, ...]
    description: str
    metrics: Mapping[str, object]
    features: tuple[Feature, ...]
    outputs: tuple[str, ...]
    """What `output` may ask for."""
    document: Mapping[str, object]
    """The whole answer."""


# `Any`: JSON as it came.
def model_from_json(document: Any) -> Model:
    """The model in an answer. Raises KeyError or TypeError if there is none."""
    signature = document["signature"]
    return Model(
        name=document["name"],
        version=document["version"],
        versions=tuple(map(_version, document["versions"])),
        latest=document["latest"],
        aliases={name: _target(alias) for name, alias in document["aliases"].items()},
        comparisons=tuple(map(_comparison, document["comparisons"])),
        description=document["description"],
        metrics=document["metrics"],
        features=tuple(
            Feature(
                name=feature["name"],
                dtype=feature["dtype"],
                is_nullable=feature["nullable"],
                example=feature["example"],
            )
            for feature in signature["features"]
        ),
        outputs=tuple(signature["outputs"]),
        document=document,
    )


# `Any` in these: JSON as it came.
def _version(document: Any) -> Version:
    error = document["error"]
    return Version(
        version=document["version"],
        state=document["state"],
        error=error["detail"] if error else "",
        jobs=document["jobs"],
        rows=document["rows"],
        error_rate=document["error_rate"],
    )


def _comparison(document: Any) -> Comparison:
    return Comparison(
        version=document["version"],
        shadow=document["shadow"],
        output=document["output"],
        rows=document["rows"],
        agreement=document["agreement"],
        mean_absolute_difference=document["mean_absolute_difference"],
    )


def _target(alias: Any) -> str:
    if isinstance(alias, str):
        return alias
    share = f" {alias['weight']:.2%}" if "weight" in alias else " shadow"
    return str(alias["version"]) + share
