"""A model as its page shows it: what its document says, put in the order in which people ask."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from api.pages.forms import value_range
from shared.manifest import Manifest
from shared.signature import OutputKind

OUTPUT_NAMES = {
    OutputKind.PREDICT: "Prediction",
    OutputKind.PREDICT_PROBA: "Probability of each class",
    OutputKind.DECISION_FUNCTION: "Score of each class",
    OutputKind.TRANSFORM: "Transformed features",
    OutputKind.CONTRIBUTIONS: "Prediction and what each feature adds to it",
}

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}


@dataclass(frozen=True, kw_only=True)
class FeatureRow:
    """A line of the table of features."""

    name: str
    dtype: str
    is_nullable: bool
    seen: str
    takes_others: bool
    """Whether other values than those are scored, too."""
    example: str


@dataclass(frozen=True, kw_only=True)
class ModelView:
    """One version of a model, and what there is to say of all."""

    reference: str
    """As it was asked for."""
    document: Mapping[str, Any]
    """Of the HTTP contract."""
    features: tuple[FeatureRow, ...]
    outputs: Mapping[str, str]
    """Kinds of output and what they are called."""

    @classmethod
    def of(cls, reference: str, manifest: Manifest, document: Mapping[str, Any]) -> "ModelView":
        """`document`: that of the same version."""
        return cls(
            reference=reference,
            document=document,
            features=tuple(_feature_rows(manifest)),
            outputs={kind: OUTPUT_NAMES[kind] for kind in manifest.signature.outputs},
        )

    @property
    def pinned(self) -> str:
        """The reference that means this very version, whatever moves."""
        return f"{self.document['name']}:{self.document['version']}"

    @property
    def versions(self) -> list[dict[str, Any]]:
        """Documents of all versions, newest first, with the aliases that point to them."""
        return [
            version | {"aliases": list(self._aliases_of(version["version"]))}
            for version in reversed(self.document["versions"])
        ]

    @property
    def current(self) -> dict[str, Any]:
        """The version that the page is about."""
        return next(v for v in self.versions if v["version"] == self.document["version"])

    def _aliases_of(self, version: str) -> Iterator[str]:
        for alias, target in self.document["aliases"].items():
            # Written as the version alone if there is nothing else to say.
            told = {"version": target} if isinstance(target, str) else target
            if told["version"] == version:
                weight = f" {told['weight']:.0%}" if "weight" in told else ""
                yield f"{alias}{weight}{' (shadow)' if told.get('shadow') else ''}"


def _feature_rows(manifest: Manifest) -> Iterator[FeatureRow]:
    for feature in manifest.signature.features:
        yield FeatureRow(
            name=feature.name,
            dtype=feature.dtype,
            is_nullable=feature.nullable,
            seen=value_range(feature),
            takes_others=feature.accepts_unseen,
            example="" if feature.example is None else str(feature.example),
        )
