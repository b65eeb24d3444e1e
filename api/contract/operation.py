"""One operation of the contract, and what many of them have in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from pydantic import BaseModel

from api.contract.schemas import Schema
from api.result_formats import ResultFormat
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

    @property
    def rule(self) -> str:
        """Its path as Flask writes it."""
        return self.path.replace("{", "<").replace("}", ">")


STORE = (errors.StoreError,)
OF_ANY_REQUEST = {
    HTTPStatus.MISDIRECTED_REQUEST: errors.UnknownHostError.code,
    HTTPStatus.REQUEST_URI_TOO_LONG: "uri_too_long",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "headers_too_large",
}
OF_ANY_WRITE = {HTTPStatus.FORBIDDEN: errors.CrossSiteError.code}
