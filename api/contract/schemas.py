"""JSON Schemas (draft 2020-12) of the documents that the API answers with.

Objects are closed and their members required: a member that is added to a document and not here
fails the tests that compare the two.
"""

from typing import Any

from pydantic import BaseModel

from api.serving import VersionState
from shared.job_store.deliveries import DeliveryState
from shared.job_store.stages import UNFINISHED_STATUSES
from shared.jobs import JOB_ID_PATTERN, JobErrorCode, JobStatus, Lane
from shared.manifest import ArtifactFormat, Ensemble
from shared.signature import OutputKind, Signature

Schema = dict[str, Any]
"""A JSON Schema: nested JSON."""

COMPONENTS = "#/components/schemas/"

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
TIME: Schema = {"type": "string", "format": "date-time"}
SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
JOB_ID: Schema = {"type": "string", "pattern": f"^{JOB_ID_PATTERN}$"}
PATH: Schema = {"type": "string", "format": "uri-reference"}


def reference(name: str) -> Schema:
    """What stands for a schema of `components`."""
    return {"$ref": COMPONENTS + name}


def closed(members: dict[str, Schema], *, optional: tuple[str, ...] = ()) -> Schema:
    """An object with these members and no others; all but the optional ones are always there."""
    return {
        "type": "object",
        "properties": members,
        "required": [name for name in members if name not in optional],
        "additionalProperties": False,
    }


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def components() -> dict[str, Schema]:
    """All schemas that have a name, by it."""
    return {
        "Job": _job(),
        "JobList": closed({"jobs": list_of(reference("Job")), "has_more": FLAG}),
        "JobEvent": _job_event(),
        "Features": _features(),
        "Deliveries": _deliveries(),
        "ResultRow": _result_row(),
        "RowError": _row_error(),
        "Model": _model(),
        "ModelVersion": _model_version(),
        "Comparison": _comparison(),
        "ModelList": closed(
            {
                "models": list_of(reference("Model")),
                "workers": nullable(list_of(_capacity())),
            }
        ),
        "Status": _status(),
        "Problem": problem(None),
        **_described_by(Signature),
        **_described_by(Ensemble),
    }


def problem(codes: list[str] | None) -> Schema:
    """A problem document (RFC 9457) with one of these codes."""
    code: Schema = {"type": "string"} if codes is None else {"enum": codes}
    found = closed(
        {"row": nullable(COUNT), "line": COUNT, "column": TEXT, "code": TEXT, "detail": TEXT}
    )
    return closed(
        {
            "type": {"const": "about:blank"},
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "code": code,
            "detail": TEXT,
            "errors": list_of(found),
            "request_id": TEXT,
        },
        optional=("errors", "request_id"),
    )


def _job() -> Schema:
    links = (
        *("self", "results", "errors", "features", "events"),
        *("deliveries", "cancel", "retry"),
    )
    return closed(
        {
            "id": JOB_ID,
            "status": {"enum": [*JobStatus]},
            "model": closed({"name": TEXT, "version": TEXT, "sha256": SHA256}),
            "input": closed({"format": TEXT, "bytes": COUNT, "sha256": nullable(SHA256)}),
            "counts": closed(
                {"total": COUNT, "succeeded": COUNT, "failed": COUNT, "pending": COUNT}
            ),
            "progress": closed(
                {
                    "ratio": SHARE,
                    "rows_per_second": nullable(NUMBER),
                    "eta_seconds": nullable(NUMBER),
                    "chunks_done": COUNT,
                    "chunks_total": COUNT,
                }
            ),
            "created_at": TIME,
            "started_at": nullable(TIME),
            "finished_at": nullable(TIME),
            "expires_at": TIME,
            "error": nullable(closed({"code": {"enum": [*JobErrorCode]}, "detail": TEXT})),
            "warnings": list_of(TEXT),
            "retry_of": nullable(JOB_ID),
            "validate_only": FLAG,
            "callback_url": nullable(TEXT),
            "urls": closed(dict.fromkeys(links, PATH)),
        }
    )


def _job_event() -> Schema:
    """One of a stream, as those who read OpenAPI 3.1 take its schema."""
    data = {"type": "string", "contentMediaType": "application/json"}
    return closed(
        {
            "id": TEXT,
            "event": {"enum": ["progress", "completed"]},
            "data": data | {"contentSchema": reference("Job")},
        }
    )


def _features() -> Schema:
    feature = closed(
        {
            "name": TEXT,
            "missing": SHARE,
            "missing_in_training": nullable(SHARE),
            "outside": nullable(SHARE),
            "unseen": nullable(SHARE),
            "psi": nullable(NUMBER),
        }
    )
    return closed({"rows": COUNT, "features": list_of(feature)})


def _deliveries() -> Schema:
    attempt = closed(
        {
            "at": TIME,
            "status": nullable({"type": "integer", "minimum": 100, "maximum": 999}),
            "error": nullable(TEXT),
            "duration_seconds": NUMBER,
        }
    )
    return closed(
        {
            "state": {"enum": [*DeliveryState]},
            "url": nullable(TEXT),
            "attempts": list_of(attempt),
            "next_attempt_at": nullable(TIME),
        }
    )


def _result_row() -> Schema:
    """Between its number and its error a row has the columns that its job asked for."""
    return {
        "type": "object",
        "properties": {"row": {"type": "integer", "minimum": 1}, "error": nullable(TEXT)},
        "required": ["row", "error"],
    }


def _row_error() -> Schema:
    place = {"type": "integer", "minimum": 1}
    return closed(
        {"row": place, "line": place, "column": nullable(TEXT), "code": TEXT, "message": TEXT}
    )


def _model() -> Schema:
    return closed(
        {
            "name": TEXT,
            "version": TEXT,
            "latest": TEXT,
            "aliases": {
                "type": "object",
                "additionalProperties": {"anyOf": [TEXT, _alias()]},
            },
            "versions": list_of(reference("ModelVersion")),
            "comparisons": list_of(reference("Comparison")),
            "description": TEXT,
            "created_at": TIME,
            "artifact": closed(
                {
                    "format": {"enum": [*ArtifactFormat]},
                    "sha256": SHA256,
                    "bytes": {"type": "integer", "minimum": 1},
                }
            ),
            "ensemble": nullable(reference("Ensemble")),
            "signature": reference("Signature"),
            "metrics": {"type": "object", "additionalProperties": NUMBER},
            "libraries": {"type": "object", "additionalProperties": TEXT},
        }
    )


def _alias() -> Schema:
    """One that says more than where it points."""
    weight = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
    members = {"version": TEXT, "weight": weight, "shadow": {"const": True}}
    return closed(members, optional=("weight", "shadow"))


def _model_version() -> Schema:
    return closed(
        {
            "version": TEXT,
            "created_at": nullable(TIME),
            "state": {"enum": [*VersionState]},
            "error": nullable(closed({"code": TEXT, "detail": TEXT})),
            "warnings": list_of(TEXT),
            "jobs": COUNT,
            "rows": COUNT,
            "error_rate": nullable(SHARE),
            "rows_per_second": nullable(NUMBER),
        }
    )


def _comparison() -> Schema:
    return closed(
        {
            "version": TEXT,
            "shadow": TEXT,
            "output": {"enum": [*OutputKind]},
            "rows": COUNT,
            "rows_skipped": COUNT,
            "agreement": nullable(SHARE),
            "mean_absolute_difference": nullable(NUMBER),
        }
    )


def _capacity() -> Schema:
    names = ("processes", "bulk_processes", "threads_per_process", "cores")
    return closed(dict.fromkeys(names, COUNT))


def _status() -> Schema:
    lane = closed({"jobs": COUNT, "running_chunks": COUNT})
    worker = {"name": TEXT, "host": TEXT, "processes": COUNT, "bulk_processes": COUNT}
    worker |= {"busy": COUNT, "threads_per_process": COUNT, "cores": COUNT}
    worker |= {"last_heard_seconds": NUMBER, "is_live": FLAG}
    return closed(
        {
            "queue": closed(
                {
                    **{of.value: lane for of in Lane},
                    "waiting_rows": COUNT,
                    "max_waiting_rows": COUNT,
                    "rows_per_second": nullable(NUMBER),
                    "oldest_waiting_seconds": nullable(NUMBER),
                }
            ),
            "workers": list_of(closed(worker)),
            "jobs": closed({status.value: COUNT for status in UNFINISHED_STATUSES}),
            "redis": closed(
                {"used_bytes": COUNT, "max_bytes": nullable(COUNT), "promised_bytes": COUNT}
            ),
        }
    )


def _described_by(model: type[BaseModel]) -> dict[str, Schema]:
    """The schema of a pydantic model, and those of the ones that it is made of."""
    schema = model.model_json_schema(mode="serialization", ref_template=COMPONENTS + "{model}")
    parts: dict[str, Schema] = schema.pop("$defs", {})
    return {model.__name__: schema, **parts}
