"""Callers: who a request comes from, which it carries along while it waits."""

from collections.abc import Collection
from dataclasses import dataclass, field

from flask import Request, request

from api.deferral import CARRIED
from shared.api_keys import ApiKey, KeyLimits, Scope

CALLER = "caller"
"""Name of the caller among what a request carries along while it waits."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who sends a request."""

    id: str
    """Of the key, to which the jobs belong that are made; empty where keys are not needed."""
    name: str
    scopes: Collection[Scope]
    limits: KeyLimits = field(default_factory=KeyLimits)
    digest: str = field(default="", repr=False)
    """Of the secret that was shown."""

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes

    @property
    def sees_jobs_of(self) -> str | None:
        """Whose jobs are shown; None for everybody's."""
        return None if self.is_admin else self.id

    def has(self, scope: Scope) -> bool:
        return self.is_admin or scope in self.scopes


ANYBODY = Caller(id="", name="", scopes=frozenset(Scope))
"""The only caller there is where keys are not needed."""

SCRAPER = Caller(id="", name="metrics", scopes=())
"""Who holds the token of the metrics, and reads nothing else."""

NOBODY = Caller(id="", name="", scopes=())
"""Who has not said who they are, or was not let in."""


def current_caller() -> Caller:
    """Who sends the request that is being answered."""
    caller = request.environ.get(CARRIED, {}).get(CALLER, NOBODY)
    assert isinstance(caller, Caller)  # noqa: S101 – only this module writes it
    return caller


def set_caller(sent: Request, caller: Caller) -> None:
    """Say who sends a request."""
    sent.environ.setdefault(CARRIED, {})[CALLER] = caller


def caller_by(key: ApiKey) -> Caller:
    """Who calls with this key."""
    return Caller(id=key.id, name=key.name, scopes=key.scopes, limits=key.limits, digest=key.digest)
