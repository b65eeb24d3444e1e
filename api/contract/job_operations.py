"""What the routes of jobs take and answer."""

from http import HTTPStatus

from api.contract.operation import (
    CSV,
    JSON,
    STORE,
    TEXT_FILE,
    Answer,
    Content,
    Operation,
)
from api.contract.schemas import Schema, list_of, reference
from api.event_stream import MEDIA_TYPE as EVENT_STREAM
from api.intake.formats import TABLE_TYPES
from api.query import (
    JobListQuery,
    NoQuery,
    ResultsQuery,
    RetryOrder,
    RowErrorsQuery,
)
from api.result_formats import ResultFormat
from api.specification import PredictOptions, SubmitOptions
from shared import errors


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

OF_A_JOB = (errors.JobNotFoundError, errors.JobGoneError, *STORE)
OF_A_TABLE = (
    errors.InputError,
    errors.ModelNotFoundError,
    errors.ManifestError,
    errors.AliasError,
    errors.TooMuchQueuedError,
    errors.RowQuotaExceededError,
    errors.TooManyJobsError,
    errors.IdempotencyKeyInUseError,
    errors.JobGoneError,
    *STORE,
)
NO_SUCH_FORMAT = {HTTPStatus.NOT_ACCEPTABLE: "not_acceptable"}


def job_operations() -> tuple[Operation, ...]:
    """Those of jobs."""
    return (*_submission(), *_rows(), *_news(), *_changes())


def _submission() -> tuple[Operation, ...]:
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
    )


def _rows() -> tuple[Operation, ...]:
    return (
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
                errors.PayloadLostError,
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
            raises=(
                errors.JobNotFinishedError,
                errors.InvalidParameterError,
                errors.PayloadLostError,
                *OF_A_JOB,
            ),
            refuses=NO_SUCH_FORMAT,
        ),
        Operation(
            method="get",
            path="/jobs/{job_id}/features",
            tag="jobs",
            name="readFeatures",
            summary="Compare the rows with those that the model was trained on",
            query=NoQuery,
            answers={
                HTTPStatus.OK: Answer(summary="Features", content={JSON: reference("Features")}),
            },
            raises=(errors.InvalidParameterError, *OF_A_JOB),
        ),
    )


def _news() -> tuple[Operation, ...]:
    return (
        Operation(
            method="get",
            path="/jobs/{job_id}/deliveries",
            tag="jobs",
            name="readDeliveries",
            summary="Tell whether the callback was told of the end",
            query=NoQuery,
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
            query=NoQuery,
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
    )


def _changes() -> tuple[Operation, ...]:
    return (
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
                errors.PayloadLostError,
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


def predict_operation() -> Operation:
    """That of small tables."""
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
        raises=(
            errors.JobStoppedError,
            errors.JobUnfinishedError,
            errors.PayloadLostError,
            *OF_A_TABLE,
        ),
        refuses=NO_SUCH_FORMAT,
    )
