"""What a key may ask for: requests a minute and rows a day. Its jobs in flight are counted by the
store, in the step that takes a job in.

Headers tell what is left, as draft-ietf-httpapi-ratelimit-headers-10 has it. Windows slide, so that
a minute's end is no moment at which twice as much gets through.
"""

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from flask import Flask, Response, request
from flask_limiter import Limiter, RequestLimit
from limits import RateLimitItem, RateLimitItemPerDay
from limits.strategies import RateLimiter

from api.allowance import ANY_NUMBER, UNLIMITED, Allowance, Quota
from api.callers import current_caller
from api.deferral import CARRIED
from shared.api_keys import KeyLimits
from shared.errors import RateLimitedError, RowQuotaExceededError, StoreError
from shared.job_store.limit_storage import URI
from shared.settings import Settings

STRATEGY = "sliding-window-counter"

REQUESTS, ROWS = "requests", "rows"
"""Names of the two policies."""

TOLD, ALLOWANCE = "rate_limit", "allowance"
"""Names of what headers say, and of what the caller may have done, among what a request carries
along while it waits."""


@dataclass(frozen=True, kw_only=True)
class Left:
    """How much of a policy is left for now."""

    policy: str
    most: int
    window_seconds: int
    remaining: int
    reset_seconds: int
    """When some of what is used up has been given back."""

    @property
    def policy_text(self) -> str:
        return f'"{self.policy}";q={self.most};w={self.window_seconds}'

    @property
    def text(self) -> str:
        return f'"{self.policy}";r={self.remaining};t={self.reset_seconds}'


def limits_of(own: KeyLimits, settings: Settings) -> KeyLimits:
    """A key's own limits, and where it has none those of all. 0 means any number."""

    def either(value: int | None, default: int) -> int:
        return default if value is None else value

    return KeyLimits(
        requests_per_minute=either(own.requests_per_minute, settings.key_requests_per_minute),
        rows_per_day=either(own.rows_per_day, settings.key_rows_per_day),
        jobs_in_flight=either(own.jobs_in_flight, settings.key_jobs_in_flight),
    )


class Limits:
    """Counts what keys ask for, in the store, so that all processes count together."""

    def __init__(self, storage: Mapping[str, Any], settings: Settings) -> None:
        """`storage`: where to count, as `shared.job_store.limit_storage` has it."""
        self._settings = settings
        self._limiter = Limiter(
            key_func=lambda: current_caller().id,
            application_limits=[lambda: f"{self._per_minute} per minute"],
            application_limits_exempt_when=lambda: not self._per_minute,
            on_breach=_refuse,
            storage_uri=URI,
            storage_options=dict(storage),
            strategy=STRATEGY,
        )

    def install(self, app: Flask) -> None:
        """Count each request to `app`, once it is known who sends it."""
        app.before_request(self._allow_jobs)
        self._limiter.init_app(app)
        app.before_request(self._tell_requests)
        app.after_request(_add_headers)

    @property
    def _per_minute(self) -> int:
        """Requests that the caller may send; 0 for any number."""
        caller = current_caller()
        limits = limits_of(caller.limits, self._settings)
        return (limits.requests_per_minute or 0) if caller.id else 0

    def _tell_requests(self) -> None:
        """Raises StoreUnavailableError."""
        if limit := self._limiter.current_limit:
            _tell(_left(self._limiter.limiter, REQUESTS, limit.limit, *limit.request_args))

    def _allow_jobs(self) -> None:
        caller = current_caller()
        if not caller.id:
            return
        limits = limits_of(caller.limits, self._settings)
        quota: Quota = ANY_NUMBER
        if limits.rows_per_day:
            quota = RowQuota(self._limiter.limiter, caller.id, limits.rows_per_day)
        allowance = Allowance(most_in_flight=limits.jobs_in_flight or 0, quota=quota)
        request.environ.setdefault(CARRIED, {})[ALLOWANCE] = allowance


def _refuse(limit: RequestLimit) -> NoReturn:
    """Raises RateLimitedError, StoreUnavailableError."""
    left = _left(limit.limiter, REQUESTS, limit.limit, *limit.request_args)
    _tell(left)
    raise RateLimitedError(left.most, retry_after_seconds=left.reset_seconds)


def current_allowance() -> Allowance:
    """What who sends the request that is being answered may have done."""
    allowance = request.environ.get(CARRIED, {}).get(ALLOWANCE, UNLIMITED)
    assert isinstance(allowance, Allowance)  # noqa: S101 – only this module writes it
    return allowance


class RowQuota:
    """The rows that one key may have scored in a day."""

    def __init__(self, limiter: RateLimiter, owner: str, most: int) -> None:
        self._limiter = limiter
        self._who = (ROWS, owner)
        self._item = RateLimitItemPerDay(most)

    def check(self, rows: int) -> None:
        """Raises RowQuotaExceededError if so many more would be too many."""
        left = _left(self._limiter, ROWS, self._item, *self._who)
        _tell(left)
        if left.remaining < rows:
            raise self._exceeded(left)

    def use(self, rows: int) -> None:
        """Count rows that are taken in. Raises RowQuotaExceededError, and counts none of them, if
        they are too many."""
        is_within = self._limiter.hit(self._item, *self._who, cost=rows)
        left = _left(self._limiter, ROWS, self._item, *self._who)
        _tell(left)
        if not is_within:
            raise self._exceeded(left)

    def give_back(self, rows: int) -> None:
        """Count these no more. While the store is away they stay counted."""
        with suppress(StoreError):
            self._limiter.hit(self._item, *self._who, cost=-rows)

    @staticmethod
    def _exceeded(left: Left) -> RowQuotaExceededError:
        return RowQuotaExceededError(
            left.most, left=left.remaining, retry_after_seconds=left.reset_seconds
        )


def _left(limiter: RateLimiter, policy: str, item: RateLimitItem, *who: str) -> Left:
    window = limiter.get_window_stats(item, *who)
    return Left(
        policy=policy,
        most=item.amount,
        window_seconds=item.get_expiry(),
        remaining=max(0, window.remaining),
        reset_seconds=max(1, math.ceil(window.reset_time - time.time())),
    )


def _tell(left: Left) -> None:
    """Have the answer say it, also when the request has waited for it."""
    request.environ.setdefault(CARRIED, {}).setdefault(TOLD, {})[left.policy] = left


def _add_headers(response: Response) -> Response:
    told = request.environ.get(CARRIED, {}).get(TOLD, {}).values()
    if told:
        response.headers["RateLimit-Policy"] = ", ".join(left.policy_text for left in told)
        response.headers["RateLimit"] = ", ".join(left.text for left in told)
    return response
