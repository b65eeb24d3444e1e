"""Who calls: found out before any view, by the key that is sent with the request, or by the session
of a browser that has shown one.

A request is let through if its key is live and has the scopes that `access.py` asks for, and if the
job it is about, if any, belongs to that key. Another key's job is answered as one that never was.
"""

import errno
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, request
from pydantic import SecretStr

from api import cookies, exchange
from api.access import Access, access_to
from api.callers import ANYBODY, NOBODY, SCRAPER, Caller, caller_by, current_caller, set_caller
from api.known_keys import RECENT_SECONDS, KnownKeys
from shared.api_keys import Token
from shared.errors import (
    AccessError,
    InsufficientScopeError,
    InvalidApiKeyError,
    JobNotFoundError,
    MetricsTokenError,
    NoApiKeyError,
    StoreError,
    StoreUnavailableError,
    UnauthorizedError,
)
from shared.job_store.api_keys import ApiKeys
from shared.job_store.sessions import Sessions
from shared.job_store.store import JobStore
from shared.metrics import holds_token
from shared.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Lets requests in, or not."""

    keys: KnownKeys
    sessions: Sessions
    store: JobStore
    needs_keys: bool
    metrics_token: SecretStr
    """Empty: the metrics take no other token than all else."""

    def recognize(self) -> None:
        """Called before any view; afterwards `current_caller` is known.

        Raises UnauthorizedError, InvalidApiKeyError, MetricsTokenError, StoreUnavailableError.
        """
        if request.url_rule is None:  # there is no such route, and Flask says so
            return
        access = access_to(request.method, request.url_rule.rule)
        if access.takes_metrics_token and self._is_scraper():
            set_caller(request, SCRAPER)
        elif not self.needs_keys:
            set_caller(request, ANYBODY)
        elif not access.is_open:
            caller = self.caller()
            set_caller(request, caller)
            exchange.called_by(caller.id)

    def admit(self) -> None:
        """Called before any view, for a caller who is known.

        Raises InsufficientScopeError, JobNotFoundError, StoreUnavailableError.
        """
        caller = current_caller()
        if request.url_rule is None or not self.needs_keys or caller is SCRAPER:
            return
        access = access_to(request.method, request.url_rule.rule)
        if not access.is_open:
            _check_scopes(caller, access)
            if job_id := (request.view_args or {}).get("job_id"):
                self._check_owner(caller, job_id)

    def check_still_good(self) -> None:
        """Called when a request has waited. Raises InvalidApiKeyError for a caller whose key, or
        the secret that was shown of it, opens nothing any more."""
        caller = current_caller()
        if caller.id:
            self._check_secret(caller)

    def _check_secret(self, caller: Caller) -> None:
        with suppress(StoreUnavailableError):  # nobody can tell just now
            if self.keys.named(caller.id).digest != caller.digest:
                raise InvalidApiKeyError("has another secret by now")

    def _is_scraper(self) -> bool:
        """Raises MetricsTokenError for one who would need the token and has another, or none."""
        if not self.metrics_token.get_secret_value():
            return False
        is_scraper = holds_token(request.headers.get("Authorization", ""), self.metrics_token)
        if not is_scraper and not self.needs_keys:
            raise MetricsTokenError
        return is_scraper

    def watch(self, response: Response) -> Response:
        """Called with every answer: one that is streamed ends when its caller's key does."""
        caller = current_caller()
        if caller.id and response.is_streamed:
            response.response = self._while_live(caller, response.response)
        return response

    # Any: bytes or texts, as the answer has them.
    def _while_live(self, caller: Caller, pieces: Iterable[Any]) -> Iterator[Any]:
        """Raises ConnectionResetError when the secret opens nothing any more, by which the server
        closes its side and doesn't say that this was all."""
        looked_at = time.monotonic()
        for piece in pieces:
            if time.monotonic() - looked_at > RECENT_SECONDS:
                looked_at = time.monotonic()
                try:
                    # While nobody can tell, the stream knows for how long to bear it.
                    self._check_secret(caller)
                except InvalidApiKeyError as error:
                    raise ConnectionResetError(errno.ECONNRESET, str(error)) from error
            yield piece

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


def _check_scopes(caller: Caller, access: Access) -> None:
    for scope in access.scopes:
        if not caller.has(scope):
            raise InsufficientScopeError(scope)


def install(app: Flask, guard: Guard) -> None:
    """Have `guard` recognize who sends every request of `app`, and look after its answer. Templates
    know by `visitor()` who it is."""
    app.before_request(guard.recognize)
    app.jinja_env.globals["visitor"] = guard.visitor
    app.jinja_env.globals["needs_keys"] = guard.needs_keys
    if guard.needs_keys:
        app.after_request(guard.watch)


def check_keys(settings: Settings, keys: ApiKeys) -> None:
    """Raises NoApiKeyError where callers need a key and there is none."""
    if settings.needs_keys and not keys.has_live():
        raise NoApiKeyError(settings.reached_on)
