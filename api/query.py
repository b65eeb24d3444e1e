"""Query strings, parsed once; a parameter that is unknown, repeated or wrong is refused by name."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.datastructures import MultiDict

from shared.errors import InvalidParameterError, UnknownParameterError
from shared.jobs import JOB_ID_PATTERN, JobStatus

Query = TypeVar("Query", bound=BaseModel)


class JobListQuery(BaseModel):
    """The query string of `GET /jobs`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Annotated[JobStatus | None, Field(description=f"one of {', '.join(JobStatus)}")] = None
    model: Annotated[str | None, Field(description="a model's name")] = None
    limit: Annotated[int, Field(ge=1, le=100, description="a whole number from 1 to 100")] = 20
    after: Annotated[
        str | None, Field(pattern=f"^{JOB_ID_PATTERN}$", description="the id of a job")
    ] = None


class ResultsQuery(BaseModel):
    """The query string of `GET /jobs/{id}/results` and `/errors`: none yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def parse_query(model: type[Query], args: MultiDict[str, str]) -> Query:
    """The query as `model` describes it. Raises InvalidParameterError, UnknownParameterError."""
    for name, values in args.lists():
        if len(values) > 1:
            raise InvalidParameterError(name, ", ".join(values), "give it once")
    query = args.to_dict()
    try:
        return model.model_validate(query)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        if name not in model.model_fields:
            raise UnknownParameterError(name, list(model.model_fields) or ["none"]) from error
        expected = f"it is {model.model_fields[name].description}"
        raise InvalidParameterError(name, query[name], expected) from error
