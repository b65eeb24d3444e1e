"""Who calls: found out before any view, by the key that is sent with the request, or by the session
of a browser that has shown one.

A request is let through if its key is live and has the scopes that `access.py` asks for, and if the
job it is about, if any, belongs to that key. Another key's job is answered as one that never was.
"""

import time
from collections import OrderedDict
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock

from flask import Flask, Request, request

from api import cookies
from api.access import Access, access_to
from api.deferral import CARRIED
from shared.api_keys import ApiKey, KeyLimits, KeyState, Scope, Token
from shared.errors import (
    AccessError,
    InsufficientScopeError,
    InvalidApiKeyError,
    JobNotFoundError,
    NoApiKeyError,
    StoreError,
    UnauthorizedError,
)
from shared.job_store.api_keys import ApiKeys
from shared.job_store.sessions import Sessions
from shared.job_store.store import JobStore
from shared.settings import Settings

RECENT_SECONDS = 1.0
"""How long a key is not asked for again: as long as one that was revoked may still be good for."""

MOST_RECENT = 1000
"""Keys that a process remembers; a few hundred bytes each."""

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


class KnownKeys:
    """The keys there are, asked for at most once in `RECENT_SECONDS`. Safe to share by threads."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys
        self._lock = Lock()
        self._recent: OrderedDict[str, tuple[float, ApiKey]] = OrderedDict()

    def of(self, token: Token) -> ApiKey:
        """The live key that a token proves. Raises InvalidApiKeyError, StoreUnavailableError."""
        key = self._remembered(token.key_id)
        # One that was rotated just now has another secret than is remembered.
        if key is None or not key.is_proven_by(token):
            key = self._look_up(token.key_id)
        if key is None or not key.is_proven_by(token):
            raise InvalidApiKeyError
        return _live(key)

    def named(self, key_id: str) -> ApiKey:
        """The live key with this id, for who was let in by it before. Raises as `of`."""
        key = self._remembered(key_id) or self._look_up(key_id)
        if key is None:
            raise InvalidApiKeyError
        return _live(key)

    def _remembered(self, key_id: str) -> ApiKey | None:
        with self._lock:
            read_at, key = self._recent.get(key_id, (0.0, None))
        return key if key and time.monotonic() - read_at <= RECENT_SECONDS else None

    def _look_up(self, key_id: str) -> ApiKey | None:
        # Before the store is asked: what it says may be old by the time it is heard.
        now, key = time.monotonic(), self._keys.find(key_id)
        # Ids that there are none of could be sent without end.
        if key is not None:
            with self._lock:
                self._recent[key_id] = (now, key)
                self._recent.move_to_end(key_id)
                if len(self._recent) > MOST_RECENT:
                    self._recent.popitem(last=False)
        return key


def _live(key: ApiKey) -> ApiKey:
    if key.state is not KeyState.LIVE:
        raise InvalidApiKeyError(f"'{key.name}' is {key.state}")
    return key


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Lets requests in, or not."""

    keys: KnownKeys
    sessions: Sessions
    store: JobStore
    needs_keys: bool

    def admit(self) -> None:
        """Called before any view; afterwards `current_caller` is known.

        Raises UnauthorizedError, InvalidApiKeyError, InsufficientScopeError, JobNotFoundError,
        StoreUnavailableError.
        """
        if request.url_rule is None:  # there is no such route, and Flask says so
            return
        access = access_to(request.method, request.url_rule.rule)
        if not self.needs_keys:
            set_caller(request, ANYBODY)
        elif not access.is_open:
            caller = self.caller()
            set_caller(request, caller)
            _check_scopes(caller, access)
            if job_id := (request.view_args or {}).get("job_id"):
                self._check_owner(caller, job_id)

    def caller(self) -> Caller:
        """Who sends this request, by what it brings. Raises UnauthorizedError,
        InvalidApiKeyError."""
        authorization = request.authorization
        if authorization is None and (session_token := cookies.session_token(request)):
            return self._signed_in(session_token)
        if authorization is None or authorization.type != "bearer":
            raise UnauthorizedError
        token = Token.parse(authorization.token or "")
        if token is None:
            raise InvalidApiKeyError
        return caller_by(self.keys.of(token))

    def _signed_in(self, session_token: str) -> Caller:
        """Who has begun this session. Raises UnauthorizedError, InvalidApiKeyError."""
        session = self.sessions.find(session_token)
        if session is None:
            raise UnauthorizedError
        key = self.keys.named(session.key_id)
        # It ends with the secret that was shown: that one may have got into other hands.
        if not session.is_by(key):
            raise UnauthorizedError
        return caller_by(key)

    def visitor(self) -> Caller | None:
        """Whose name a page shows as signed in; None where keys are not needed, too."""
        if not self.needs_keys:
            return None
        caller = current_caller()
        if caller is NOBODY:
            # The route takes no key, or somebody else's problem is told.
            with suppress(AccessError, StoreError):
                return self.caller()
            return None
        return caller

    def sign_in(self, token: str) -> str:
        """The token of a new session of who has this one of an API key. Raises
        InvalidApiKeyError."""
        parsed = Token.parse(token)
        if parsed is None:
            raise InvalidApiKeyError
        key = self.keys.of(parsed)
        set_caller(request, caller_by(key))
        return self.sessions.begin(key)

    def sign_out(self) -> None:
        """End the session of the browser that sends this request, if it has one."""
        if session_token := cookies.session_token(request):
            if visitor := self.visitor():
                set_caller(request, visitor)
            self.sessions.end(session_token)

    def _check_owner(self, caller: Caller, job_id: str) -> None:
        """Raises JobNotFoundError, for another's job as for none."""
        if caller.sees_jobs_of is not None and self.store.owner_of(job_id) != caller.id:
            raise JobNotFoundError(job_id)


def caller_by(key: ApiKey) -> Caller:
    """Who calls with this key."""
    return Caller(id=key.id, name=key.name, scopes=key.scopes, limits=key.limits)


def _check_scopes(caller: Caller, access: Access) -> None:
    for scope in access.scopes:
        if not caller.has(scope):
            raise InsufficientScopeError(scope)


def install(app: Flask, guard: Guard) -> None:
    """Have `guard` look at every request of `app`, and templates know by `visitor()` who sends
    it."""
    app.before_request(guard.admit)
    app.jinja_env.globals["visitor"] = guard.visitor
    app.jinja_env.globals["needs_keys"] = guard.needs_keys


def check_keys(settings: Settings, keys: ApiKeys) -> None:
    """Raises NoApiKeyError where callers need a key and there is none."""
    if settings.needs_keys and not keys.has_live():
        raise NoApiKeyError(settings.reached_on)
