"""The contract as people read it: operations and schemas as tables, types as short texts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from api.contract.schemas import COMPONENTS, Schema

SHOWN_VALUES = 12
"""Longest enumeration that is spelled out."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A parameter, a header or a member of an object."""

    name: str
    place: str
    type: str
    description: str
    is_required: bool


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a request may be answered with."""

    status: str
    description: str
    content: tuple[tuple[str, str], ...]
    """Media types, each with what is in it."""
    codes: tuple[str, ...]
    """Of a problem: the codes that it may have."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One operation."""

    name: str
    method: str
    path: str
    summary: str
    entries: tuple[Entry, ...]
    body: tuple[tuple[str, str], ...]
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The whole contract."""

    version: str
    sections: tuple[tuple[str, str, tuple[Request, ...]], ...]
    """Tag, its description, its operations."""
    schemas: tuple[tuple[str, tuple[Entry, ...]], ...]
    """Documents by name, with their members."""


def read(contract: dict[str, Any]) -> Reading:
    """A reading of an OpenAPI document."""
    requests = [
        (described["tags"][0], _request(method, path, described))
        for path, methods in contract["paths"].items()
        for method, described in methods.items()
    ]
    return Reading(
        version=contract["info"]["version"],
        sections=tuple(
            (
                tag["name"],
                tag["description"],
                tuple(r for name, r in requests if name == tag["name"]),
            )
            for tag in contract["tags"]
        ),
        schemas=tuple(
            (name, tuple(_members(schema)))
            for name, schema in contract["components"]["schemas"].items()
            if "properties" in schema
        ),
    )


def _request(method: str, path: str, described: dict[str, Any]) -> Request:
    return Request(
        name=described["operationId"],
        method=method.upper(),
        path=path,
        summary=described["summary"],
        entries=tuple(_parameter(p) for p in described["parameters"]),
        body=_content(described.get("requestBody", {})),
        outcomes=tuple(
            _outcome(status, answer) for status, answer in described["responses"].items()
        ),
    )


def _parameter(parameter: dict[str, Any]) -> Entry:
    return Entry(
        name=parameter["name"],
        place=parameter["in"],
        type=type_text(parameter["schema"]),
        description=parameter.get("description", ""),
        is_required=parameter.get("required", False),
    )


def _members(schema: Schema, *, prefix: str = "") -> Iterator[Entry]:
    """The members of an object, those of nested objects in their parents' place."""
    for name, member in schema["properties"].items():
        if "properties" in member:
            yield from _members(member, prefix=f"{prefix}{name}.")
            continue
        yield Entry(
            name=prefix + name,
            place="",
            type=type_text(member),
            description=member.get("description", ""),
            is_required=name in schema.get("required", ()),
        )


def _outcome(status: str, answer: dict[str, Any]) -> Outcome:
    problem = answer.get("content", {}).get("application/problem+json")
    return Outcome(
        status=status,
        description=answer["description"],
        content=() if problem else _content(answer),
        codes=tuple(problem["schema"]["properties"]["code"]["enum"]) if problem else (),
    )


def _content(holder: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    content = holder.get("content", {})
    return tuple((media, type_text(described["schema"])) for media, described in content.items())


def type_text(schema: Schema) -> str:
    """A schema in a few words, such as `list of Job` or `integer ≥ 0, or null`."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(COMPONENTS)
    if "anyOf" in schema:
        return ", or ".join(type_text(variant) for variant in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return _one_of(schema.get("enum") or [schema["const"]]) + _default(schema)
    if schema.get("type") == "array":
        return f"list of {type_text(schema['items'])}"
    if "properties" in schema:
        return "object with " + ", ".join(schema["properties"])
    simple = schema.get("format") or schema.get("type", "anything")
    return str(simple) + _bounds(schema) + _default(schema)


def _one_of(values: list[Any]) -> str:
    shown = [json.dumps(value) for value in values[:SHOWN_VALUES]]
    rest = ", …" if len(values) > SHOWN_VALUES else ""
    return ("one of " if len(values) > 1 else "") + ", ".join(shown) + rest


def _bounds(schema: Schema) -> str:
    words = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
    return "".join(f" {sign} {schema[name]}" for name, sign in words.items() if name in schema)


def _default(schema: Schema) -> str:
    default = schema.get("default", "")
    return "" if default == "" else f"; {json.dumps(default)} by default"
