"""What each route takes and answers, by the models that parse it and the errors that it raises."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from pydantic import BaseModel

from api.contract.schemas import Schema, closed, list_of, reference
from api.event_stream import MEDIA_TYPE as EVENT_STREAM
from api.intake.formats import TABLE_TYPES
from api.query import (
    DeliveriesQuery,
    EventsQuery,
    FeaturesQuery,
    JobListQuery,
    ResultsQuery,
    RetryOrder,
    RowErrorsQuery,
    StatusQuery,
)
from api.result_formats import ResultFormat
from api.specification import PredictOptions, SubmitOptions
from shared import errors

CSV = ResultFormat.CSV.media_type
JSON = ResultFormat.JSON.media_type

TEXT_FILE: Schema = {"type": "string"}

Content = Mapping[str, Schema]
"""Media types, and what is in a body of each."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A successful answer."""

    summary: str
    content: Content = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    is_job: bool = False
    """Whether the answer's `id` is that of a job, which other operations take."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    tag: str
    name: str
    summary: str
    answers: Mapping[HTTPStatus, Answer]
    query: type[BaseModel] | None = None
    headers: tuple[str, ...] = ()
    body: Content = field(default_factory=dict)
    raises: tuple[type[errors.RowmillError], ...] = ()
    """Errors that become problems, those that derive from them included."""
    refuses: dict[HTTPStatus, str] = field(default_factory=dict)
    """Problems that have no error class: codes by their status."""


def _in_every_format(row: str) -> Content:
    """Rows that are described by this schema where they are JSON."""
    files = {wanted.media_type: TEXT_FILE for wanted in ResultFormat}
    return {**files, JSON: list_of(reference(row))}


RECORD: Schema = {"type": "object"}

TABLE: Content = {
    **dict.fromkeys(TABLE_TYPES, TEXT_FILE),
    JSON: {"anyOf": [list_of(RECORD) | {"minItems": 1}, RECORD]},
    "multipart/form-data": {
        "type": "object",
        "properties": {"file": {"type": "string", "contentMediaType": CSV}},
        "required": ["file"],
        "additionalProperties": False,
    },
}
RESULTS = _in_every_format("ResultRow")
JOB: Content = {JSON: reference("Job")}

SUBMIT_HEADERS = ("Idempotency-Key", "Prefer")
ACCEPTED_HEADERS = ("Location", "Retry-After", "Preference-Applied", "Idempotent-Replayed")

ACCEPTED = Answer(summary="The job", content=JOB, headers=ACCEPTED_HEADERS, is_job=True)

STORE = (errors.StoreError,)
OF_A_JOB = (errors.JobNotFoundError, errors.JobGoneError, *STORE)
OF_AN_ORDER = (
    errors.UnsupportedMediaTypeError,
    errors.InvalidBodyError,
    errors.BodyTooLargeError,
    errors.UploadIncompleteError,
    errors.InvalidParameterError,
)
OF_A_TABLE = (
    errors.InputError,
    errors.ModelNotFoundError,
    errors.ManifestError,
    errors.AliasError,
    errors.TooMuchQueuedError,
    errors.IdempotencyKeyInUseError,
    errors.JobGoneError,
    *STORE,
)
OF_A_MODEL = (errors.ModelNotFoundError, errors.ManifestError, errors.AliasError)
OF_ANY_REQUEST = {
    HTTPStatus.REQUEST_URI_TOO_LONG: "uri_too_long",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "headers_too_large",
}
NO_SUCH_FORMAT = {HTTPStatus.NOT_ACCEPTABLE: "not_acceptable"}


def operations() -> tuple[Operation, ...]:
    """All of them, in the order of the reference."""
    return (*_jobs(), _predict(), *_models(), *_health(), _contract())


def _jobs() -> tuple[Operation, ...]:
    return (
        Operation(
            method="post",
            path="/jobs",
            tag="jobs",
            name="submit",
            summary="Create a job from a table",
            query=SubmitOptions,
            headers=SUBMIT_HEADERS,
            body=TABLE,
            answers={HTTPStatus.ACCEPTED: ACCEPTED},
            raises=OF_A_TABLE,
        ),
        Operation(
            method="get",
            path="/jobs",
            tag="jobs",
            name="listJobs",
            summary="List jobs, newest first",
            query=JobListQuery,
            answers={
                HTTPStatus.OK: Answer(summary="Jobs", content={JSON: reference("JobList")}),
            },
            raises=(errors.InvalidParameterError, *STORE),
        ),
        Operation(
            method="get",
            path="/jobs/{job_id}",
            tag="jobs",
            name="showJob",
            summary="Show a job, at once or when it has ended",
            headers=("Prefer", "If-None-Match"),
            answers={
                HTTPStatus.OK: Answer(
                    summary="The job",
                    content=JOB,
                    headers=("ETag", "Retry-After", "Preference-Applied"),
                ),
                HTTPStatus.NOT_MODIFIED: Answer(summary="The job is as it was"),
            },
            raises=OF_A_JOB,
        ),
        Operation(
            method="get",
            path="/jobs/{job_id}/results",
            tag="jobs",
            name="readResults",
            summary="Read the predictions in input order",
            query=ResultsQuery,
            answers={HTTPStatus.OK: Answer(summary="Predictions", content=RESULTS)},
            raises=(
                errors.JobNotFinishedError,
                errors.TooManyWaitingError,
                errors.InvalidParameterError,
                *OF_A_JOB,
            ),
            refuses=NO_SUCH_FORMAT,
        ),
        Operation(
            method="get",
            path="/jobs/{job_id}/errors",
            tag="jobs",
            name="readErrors",
            summary="Read the row errors",
            query=RowErrorsQuery,
            answers={
                HTTPStatus.OK: Answer(summary="Row errors", content=_in_every_format("RowError"))
            },
            raises=(errors.JobNotFinishedError, errors.InvalidParameterError, *OF_A_JOB),
            refuses=NO_SUCH_FORMAT,
        ),
        Operation(
            method="get",
            path="/jobs/{job_id}/features",
            tag="jobs",
            name="readFeatures",
            summary="Compare the rows with those that the model was trained on",
            query=FeaturesQuery,
            answers={
                HTTPStatus.OK: Answer(summary="Features", content={JSON: reference("Features")}),
            },
            raises=(errors.InvalidParameterError, *OF_A_JOB),
        ),
        Operation(
            method="get",
            path="/jobs/{job_id}/deliveries",
            tag="jobs",
            name="readDeliveries",
            summary="Tell whether the callback was told of the end",
            query=DeliveriesQuery,
            answers={
                HTTPStatus.OK: Answer(
                    summary="Deliveries", content={JSON: reference("Deliveries")}
                ),
            },
            raises=(errors.InvalidParameterError, *OF_A_JOB),
        ),
        Operation(
            method="get",
            path="/jobs/{job_id}/events",
            tag="jobs",
            name="watchJob",
            summary="Be told of a job's progress and end by server-sent events",
            query=EventsQuery,
            headers=("Last-Event-ID",),
            answers={
                HTTPStatus.OK: Answer(
                    summary="Events `progress` and `completed`; the data of each is a Job",
                    content={EVENT_STREAM: reference("JobEvent")},
                ),
                HTTPStatus.NO_CONTENT: Answer(summary="The last event was seen"),
            },
            raises=(errors.TooManyWaitingError, errors.InvalidParameterError, *OF_A_JOB),
        ),
        Operation(
            method="post",
            path="/jobs/{job_id}/cancel",
            tag="jobs",
            name="cancelJob",
            summary="Cancel a job",
            answers={HTTPStatus.ACCEPTED: Answer(summary="The job", content=JOB)},
            raises=OF_A_JOB,
        ),
        Operation(
            method="post",
            path="/jobs/{job_id}/retry",
            tag="jobs",
            name="retryJob",
            summary="Create a job from the rows that failed",
            headers=("Idempotency-Key", "Prefer"),
            body={JSON: RetryOrder.model_json_schema()},
            answers={HTTPStatus.ACCEPTED: ACCEPTED},
            raises=(
                errors.JobNotFinishedError,
                errors.NothingToRetryError,
                errors.JobNotFoundError,
                *OF_A_TABLE,
            ),
        ),
        Operation(
            method="delete",
            path="/jobs/{job_id}",
            tag="jobs",
            name="deleteJob",
            summary="Free all data of a job",
            answers={HTTPStatus.NO_CONTENT: Answer(summary="It is gone")},
            raises=OF_A_JOB,
        ),
    )


def _predict() -> Operation:
    return Operation(
        method="post",
        path="/predict",
        tag="predictions",
        name="predict",
        summary="Predict a small table in one request",
        query=PredictOptions,
        headers=SUBMIT_HEADERS,
        body=TABLE,
        answers={
            HTTPStatus.OK: Answer(
                summary="Predictions",
                content=RESULTS,
                headers=("Content-Location", "Idempotent-Replayed"),
            ),
            HTTPStatus.ACCEPTED: ACCEPTED,
        },
        raises=(errors.JobUnfinishedError, *OF_A_TABLE),
        refuses=NO_SUCH_FORMAT,
    )


def _models() -> tuple[Operation, ...]:
    return (
        Operation(
            method="get",
            path="/models",
            tag="models",
            name="listModels",
            summary="List models and the workers that score with them",
            answers={
                HTTPStatus.OK: Answer(summary="Models", content={JSON: reference("ModelList")}),
            },
        ),
        Operation(
            method="get",
            path="/models/{reference}",
            tag="models",
            name="showModel",
            summary="Show a model by the version that a reference means",
            answers={
                HTTPStatus.OK: Answer(summary="The model", content={JSON: reference("Model")})
            },
            raises=OF_A_MODEL,
        ),
        Operation(
            method="get",
            path="/models/{reference}/template.csv",
            tag="models",
            name="readTemplate",
            summary="Get a header with one example row",
            answers={HTTPStatus.OK: Answer(summary="A table", content={CSV: TEXT_FILE})},
            raises=OF_A_MODEL,
        ),
    )


def _health() -> tuple[Operation, ...]:
    processes = {"type": "integer", "minimum": 1}
    return (
        Operation(
            method="get",
            path="/healthz",
            tag="health",
            name="isUp",
            summary="Tell whether the process is up",
            answers={
                HTTPStatus.OK: Answer(
                    summary="It is", content={JSON: closed({"status": {"const": "ok"}})}
                ),
            },
        ),
        Operation(
            method="get",
            path="/readyz",
            tag="health",
            name="isReady",
            summary="Tell whether a job would be scored",
            answers={
                HTTPStatus.OK: Answer(
                    summary="It would",
                    content={
                        JSON: closed({"status": {"const": "ready"}, "worker_processes": processes})
                    },
                ),
            },
            raises=(errors.StoreUnavailableError,),
            refuses={HTTPStatus.SERVICE_UNAVAILABLE: "no_live_worker"},
        ),
        Operation(
            method="get",
            path="/status",
            tag="health",
            name="showStatus",
            summary="Show the queue, the workers and the store",
            query=StatusQuery,
            answers={
                HTTPStatus.OK: Answer(summary="As they are", content={JSON: reference("Status")}),
            },
            raises=(errors.InvalidParameterError, errors.StoreUnavailableError),
        ),
    )


def _contract() -> Operation:
    return Operation(
        method="get",
        path="/openapi.json",
        tag="contract",
        name="readContract",
        summary="Get this document",
        answers={
            HTTPStatus.OK: Answer(summary="OpenAPI 3.1", content={JSON: {"type": "object"}}),
        },
    )
