"""What a job may be asked to do, and how it is said in the query."""

from typing import Literal, TypedDict


class SubmitOptions(TypedDict, total=False):
    """Options of `POST /jobs`, by their names there; one that is absent or `None` isn't sent."""

    output: str | None
    join: Literal["none", "input"] | None
    key: str | None
    delimiter: str | None
    strict: bool | None
    error_threshold: int | None
    priority: Literal["high", "normal", "low"] | None
    expires_in: int | None
    deadline: float | None
    callback_url: str | None


def query_of(model: str | None, options: SubmitOptions) -> dict[str, str]:
    """The options as query parameters."""
    given = {"model": model, **options}
    return {name: _text(value) for name, value in given.items() if value is not None}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
