"""What each route takes and answers, by the models that parse it and the errors that it raises."""

from http import HTTPStatus

from api.contract.job_operations import job_operations, predict_operation
from api.contract.operation import CSV, JSON, TEXT_FILE, Answer, Operation
from api.contract.schemas import closed, reference
from api.query import NoQuery
from shared import errors

OF_A_MODEL = (errors.ModelNotFoundError, errors.ManifestError, errors.AliasError)


def operations() -> tuple[Operation, ...]:
    """All of them, in the order of the reference."""
    return (*job_operations(), predict_operation(), *_models(), *_health(), _contract())


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
            summary="Tell whether a job would be taken and scored",
            answers={
                HTTPStatus.OK: Answer(
                    summary="It would",
                    content={
                        JSON: closed({"status": {"const": "ready"}, "worker_processes": processes})
                    },
                ),
            },
            raises=(errors.NotReadyError, errors.StoreUnavailableError),
            refuses={HTTPStatus.SERVICE_UNAVAILABLE: errors.StoreFullError.code},
        ),
        Operation(
            method="get",
            path="/status",
            tag="health",
            name="showStatus",
            summary="Show the queue, the workers and the store",
            query=NoQuery,
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
