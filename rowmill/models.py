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
class Model:
    """A named model with its versions, oldest first, and what the latest one takes and gives."""

    name: str
    versions: tuple[str, ...]
    latest: str
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
        versions=tuple(version["version"] for version in document["versions"]),
        latest=document["latest"],
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
