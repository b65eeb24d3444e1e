"""The OpenAPI document, put together from operations and schemas.

Source: OpenAPI Specification 3.1.1, https://spec.openapis.org/oas/v3.1.1.html
"""

from collections import defaultdict
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from api import problems
from api.access import access_to
from api.contract import parameters
from api.contract.operation import OF_ANY_REQUEST, OF_ANY_WRITE, Answer, Content, Operation
from api.contract.operations import operations
from api.contract.schemas import JOB_ID, Schema, components, problem
from shared.errors import (
    InsufficientScopeError,
    InvalidApiKeyError,
    RateLimitedError,
    RowmillError,
    UnauthorizedError,
)

OPENAPI_VERSION = "3.1.0"

VERSION = "0.1.0"
"""Of Rowmill. The images hold the code and not the package that would tell it."""

ABOUT = """\
Asynchronous batch inference: post a table, get a job, poll, download the predictions.

Errors are problem documents (RFC 9457) with a stable `code`."""

KEY = "apiKey"
SECURITY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "rowmill_<id>_<secret>",
    "description": "An API key, where the service takes one: not if it is reached on loopback only",
}

TAGS = {
    "jobs": "Large tables: submit, watch, download",
    "predictions": "Small tables, answered in one request",
    "models": "What can be scored with",
    "health": "Whether the service is up and ready",
    "contract": "This document",
}

PATH_PARAMETERS: dict[str, Schema] = {
    "job_id": {"description": "Id of a job", "schema": JOB_ID},
    "reference": {
        "description": "Model reference: `name`, `name@alias` or `name:version`",
        "schema": {"type": "string", "minLength": 1},
    },
}


def document() -> dict[str, Any]:
    """The whole contract, as JSON to be."""
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    found = operations()
    of_jobs = [o.name for o in found if "{job_id}" in o.path]
    for operation in found:
        paths[operation.path][operation.method] = _operation(operation, of_jobs)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "Rowmill",
            "version": VERSION,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": dict(paths),
        "components": {"schemas": components(), "securitySchemes": {KEY: SECURITY_SCHEME}},
    }


def _operation(operation: Operation, of_jobs: list[str]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": list(_parameters(operation)),
        "responses": {
            **{
                str(status.value): _answer(answer, of_jobs)
                for status, answer in operation.answers.items()
            },
            **_problems(operation),
        },
    }
    access = access_to(operation.method.upper(), operation.rule)
    if access.is_open:
        described["security"] = []
    elif access.scopes:
        described["security"] = [{KEY: [scope.value for scope in access.scopes]}, {}]
    if operation.body:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    return described


def _parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for name, described in PATH_PARAMETERS.items():
        if f"{{{name}}}" in operation.path:
            yield {"name": name, "in": "path", "required": True, **described}
    if operation.query:
        yield from _query_parameters(operation.name, operation.query)
    for name in operation.headers:
        yield {"name": name, "in": "header", **parameters.SENT[name]}


def _query_parameters(operation: str, model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    """Parameters of a query string, as the model that parses it has them."""
    schema = model.model_json_schema()
    for name, declared in schema["properties"].items():
        meaning = parameters.QUERY_OF.get((operation, name)) or parameters.QUERY[name]
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": meaning,
            "schema": _resolved(declared, schema.get("$defs", {})),
        }


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Without references, the null that stands for an absent parameter, and what says in words what
    the type says, too."""
    variants = [v for v in schema.get("anyOf", []) if v != {"type": "null"}]
    further = {
        k: v for k, v in schema.items() if k not in {"anyOf", "$ref", "title", "description"}
    }
    if further.get("default", ...) is None:
        del further["default"]
    if "$ref" in schema:
        named = definitions[schema["$ref"].rpartition("/")[2]]
        return {"type": named["type"], "enum": named["enum"], **further}
    if len(variants) == 1:
        return {**_resolved(variants[0], definitions), **further}
    return further


def _answer(answer: Answer, of_jobs: list[str]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.summary}
    if answer.content:
        described["content"] = _content(answer.content)
    if answer.headers:
        described["headers"] = {name: parameters.ANSWERED[name] for name in answer.headers}
    if answer.is_job:
        described["links"] = {
            name: {"operationId": name, "parameters": {"job_id": "$response.body#/id"}}
            for name in of_jobs
        }
    return described


def _content(content: Content) -> dict[str, Any]:
    return {media_type: {"schema": schema} for media_type, schema in content.items()}


def _problems(operation: Operation) -> dict[str, Any]:
    """What can go wrong, by status; of each status the codes that it may have here."""
    codes: dict[HTTPStatus, set[str]] = defaultdict(set)
    for base in (*operation.raises, *_of_access(operation)):
        for error in _family(base):
            codes[problems.status_of(error.__new__(error))].add(error.code)
    of_any = OF_ANY_REQUEST if operation.method == "get" else OF_ANY_REQUEST | OF_ANY_WRITE
    for status, code in (*of_any.items(), *operation.refuses.items()):
        codes[status].add(code)
    return {
        str(status.value): {
            "description": status.phrase,
            "content": {problems.MEDIA_TYPE: {"schema": problem(sorted(codes[status]))}},
        }
        for status in sorted(codes)
    }


def _of_access(operation: Operation) -> Iterator[type[RowmillError]]:
    """What may be wrong with the key, where one is taken."""
    if not access_to(operation.method.upper(), operation.rule).is_open:
        yield from (UnauthorizedError, InvalidApiKeyError, InsufficientScopeError, RateLimitedError)


def _family(base: type[RowmillError]) -> Iterator[type[RowmillError]]:
    yield base
    for child in base.__subclasses__():
        yield from _family(child)
