"""Query strings and JSON orders, parsed once; what is unknown or wrong is refused by name."""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.datastructures import MultiDict

from api.result_formats import ResultFormat
from shared.errors import InvalidBodyError, InvalidParameterError, UnknownParameterError
from shared.job_store.store import JobFilter
from shared.jobs import JOB_ID_PATTERN, JobStatus
from shared.row_range import RowRange

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

    def as_filter(self, *, owner: str | None) -> JobFilter:
        """The jobs asked for, of this API key or, with None, of all."""
        return JobFilter(owner=owner, status=self.status, model=self.model, after=self.after)


FormatOption = Annotated[
    ResultFormat | None, Field(description=f"one of {', '.join(ResultFormat)}")
]
"""A format that is named in the query, where headers can't be set; it wins over `Accept`."""

MOST_ROWS = 10**12
"""More than a job can have, and a number that every part can count with."""

_ROW_COUNT = Field(ge=0, le=MOST_ROWS, description=f"a whole number from 0 to {MOST_ROWS}")


class RowErrorsQuery(BaseModel):
    """The query string of `GET /jobs/{id}/errors`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: FormatOption = None
    offset: Annotated[int, _ROW_COUNT] = 0
    limit: Annotated[int | None, _ROW_COUNT] = None
    guard_formulas: Annotated[bool | None, Field(description="'true' or 'false'")] = None

    @property
    def rows(self) -> RowRange:
        return RowRange(offset=self.offset, limit=self.limit)


class ResultsQuery(RowErrorsQuery):
    """The query string of `GET /jobs/{id}/results`."""

    follow: Annotated[bool, Field(description="'true' or 'false'")] = False


class NoQuery(BaseModel):
    """The query string of routes that take none yet: whatever is in it is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RetryOrder(BaseModel):
    """The body of `POST /jobs/{id}/retry`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    only: Annotated[Literal["failed"], Field(description="'failed'")]
    model: Annotated[str | None, Field(description="a model reference")] = None


def parse_order(model: type[Query], text: bytes) -> Query:
    """The JSON object in a body as `model` describes it.

    Raises InvalidBodyError, InvalidParameterError, UnknownParameterError.
    """
    try:
        order = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidBodyError from error
    if not isinstance(order, dict):
        raise InvalidBodyError
    return _validated(model, order)


def query_parser(model: type[Query]) -> Callable[[bytes], Query]:
    """What parses raw query strings as `parse_query` does.

    It keeps what the last ones meant: most small jobs are sent with the query of those before.
    """

    @lru_cache(maxsize=256)
    def parse(query_string: bytes) -> Query:
        # As werkzeug's own `Request.args` has it.
        pairs = parse_qsl(
            query_string.decode(), keep_blank_values=True, errors="werkzeug.url_quote"
        )
        return parse_query(model, MultiDict(pairs))

    return parse


def parse_query(model: type[Query], args: MultiDict[str, str]) -> Query:
    """The query as `model` describes it. Raises InvalidParameterError, UnknownParameterError."""
    for name, values in args.lists():
        if len(values) > 1:
            raise InvalidParameterError(name, ", ".join(values), "give it once")
    return _validated(model, args.to_dict())


def _validated(model: type[Query], values: Mapping[str, Any]) -> Query:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        if name not in model.model_fields:
            raise UnknownParameterError(name, list(model.model_fields) or ["none"]) from error
        expected = f"it is {model.model_fields[name].description}"
        raise InvalidParameterError(name, str(values.get(name, "")), expected) from error
