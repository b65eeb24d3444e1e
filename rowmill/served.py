"""Waiting until a server gives a model version to jobs: it is noticed, tried, then served."""

import math
from collections.abc import Callable

from rowmill.errors import ProblemError, RowmillError, VersionFailedError, VersionWaitError
from rowmill.models import Model, Version
from rowmill.polling import Clock

LOOK_SECONDS = 0.5

SETTLING_SECONDS = 1.0
"""Each process of the API asks twice a second what workers can use; the one that answered may be
ahead of the others."""


def wait_until_served(
    look: Callable[[], Model], reference: str, *, clock: Clock, timeout_seconds: float = math.inf
) -> Model:
    """The model, once new jobs get the version that a reference means.

    A server that is away or does not know the model yet is waited for, too. Raises
    VersionFailedError, VersionWaitError, or what `look` raises for good.
    """
    deadline = clock.now() + timeout_seconds
    while True:
        try:
            model = look()
            found = wanted(model, reference)
            is_served = found.state == "ready" and model.version == found.version
            error: RowmillError = VersionWaitError(reference, found.state, timeout_seconds)
        except RowmillError as trouble:
            is_served, error = False, trouble
            if not trouble.may_pass and not _is_unknown(trouble):
                raise
        else:
            if found.state == "failed":
                raise VersionFailedError(model.name, found.version, found.error)
        if is_served:
            clock.sleep(SETTLING_SECONDS)
            return model
        if clock.now() >= deadline:
            raise error
        clock.sleep(min(LOOK_SECONDS, deadline - clock.now()))


def wanted(model: Model, reference: str) -> Version:
    """The version that a reference means by what its model says, whether or not it is served.

    Raises VersionFailedError for an alias of one that is not there.
    """
    _, _, alias = reference.partition("@")
    _, _, number = reference.partition(":")
    aliases = model.document["aliases"]
    number = number or _pointed_to(aliases, alias or "champion") or model.latest
    for version in model.versions:
        if version.version == number:
            return version
    raise VersionFailedError(model.name, number, "it is not there; point the alias at another.")


def _pointed_to(aliases: object, alias: str) -> str:
    target = aliases.get(alias, "") if isinstance(aliases, dict) else ""
    return str(target["version"] if isinstance(target, dict) else target)


def _is_unknown(error: RowmillError) -> bool:
    return isinstance(error, ProblemError) and error.code == "model_not_found"
