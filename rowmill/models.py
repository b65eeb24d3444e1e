"""A model as the server describes it."""

from collections.abc import Mapping
from dataclasses import dataclass

from rowmill.json_object import JsonObject


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
    """A named model with its versions, oldest first, and the latest version's documentation."""

    name: str
    versions: tuple[str, ...]
    latest: str
    description: str
    metrics: Mapping[str, object]
    features: tuple[Feature, ...]
    outputs: tuple[str, ...]
    """What `output` may ask for."""
    document: Mapping[str, object]
    """The whole answer, for fields this client doesn't know."""


def model_from_json(body: JsonObject) -> Model:
    """The model in an answer. Raises `MalformedAnswerError`."""
    signature = body.child("signature")
    return Model(
        name=body.required_text("name"),
        versions=tuple(_version(item) for item in body.items("versions")),
        latest=body.text("latest"),
        description=body.text("description"),
        metrics=body.child("metrics").fields,
        features=tuple(map(_feature, signature.children("features"))),
        outputs=tuple(signature.child("outputs").fields),
        document=body.fields,
    )


def _version(item: object) -> str:
    """A version is listed by its name alone or as an object that holds it."""
    return item if isinstance(item, str) else JsonObject(item, "versions").required_text("version")


def _feature(body: JsonObject) -> Feature:
    return Feature(
        name=body.required_text("name"),
        dtype=body.text("dtype"),
        is_nullable=body.is_true("nullable"),
        example=body.fields.get("example"),
    )
