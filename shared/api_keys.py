"""API keys: who may call, and what for.

A key is named by its id and proven by its secret. Both are in the token that a caller sends, as
`Authorization: Bearer rowmill_<id>_<secret>`; only a digest of the secret is kept. The secret has
256 random bits, so a fast digest without salt is as good as a slow one.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum

_TOKEN = re.compile(r"rowmill_([0-9a-f]{12})_([0-9a-f]{64})")


class Scope(StrEnum):
    """What a key is good for."""

    SUBMIT = "submit"
    """Create jobs; cancel, retry and delete those of the key."""
    READ = "read"
    """The jobs of the key and their results; all models."""
    ADMIN = "admin"
    """Everything of everybody, and how the service is doing."""


class KeyState(StrEnum):
    """Whether a key opens anything."""

    LIVE = "live"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, kw_only=True)
class KeyLimits:
    """How much a key may ask for; None: what the settings say for keys without a limit of their
    own."""

    requests_per_minute: int | None = None
    rows_per_day: int | None = None
    jobs_in_flight: int | None = None


@dataclass(frozen=True, kw_only=True)
class Token:
    """What a caller sends. It is shown once, to who creates or rotates the key."""

    key_id: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls, key_id: str) -> "Token":
        """A token of that key with a secret of its own."""
        return cls(key_id=key_id, secret=secrets.token_hex(32))

    @classmethod
    def parse(cls, text: str) -> "Token | None":
        """None if it is none."""
        match = _TOKEN.fullmatch(text)
        return cls(key_id=match[1], secret=match[2]) if match else None

    @property
    def text(self) -> str:
        return f"rowmill_{self.key_id}_{self.secret}"

    @property
    def digest(self) -> str:
        """SHA-256 of the secret, which is all that is kept of it."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A snapshot of a key. Times are milliseconds since 1970 by the store's clock."""

    id: str
    name: str
    """What people call it; several keys may have the same."""
    scopes: frozenset[Scope]
    limits: KeyLimits = KeyLimits()
    digest: str = field(repr=False)
    """Of the secret that is good now."""
    created_at_ms: int
    rotated_at_ms: int | None = None
    """When it got the secret that it has, if that is not its first."""
    expires_at_ms: int | None = None
    """From then on it opens nothing; None for never."""
    revoked_at_ms: int | None = None
    read_at_ms: int
    """When the snapshot was taken."""

    @property
    def state(self) -> KeyState:
        if self.revoked_at_ms is not None:
            return KeyState.REVOKED
        is_over = self.expires_at_ms is not None and self.expires_at_ms <= self.read_at_ms
        return KeyState.EXPIRED if is_over else KeyState.LIVE

    def is_proven_by(self, token: Token) -> bool:
        """Whether the token has its secret; takes as long for a wrong one as for a near one."""
        return hmac.compare_digest(self.digest, token.digest)

    def rotated(self, token: Token) -> "ApiKey":
        """The same key with the secret of this token; the one before opens nothing any more."""
        return replace(self, digest=token.digest, rotated_at_ms=self.read_at_ms)

    def revoked(self) -> "ApiKey":
        """The same key, which opens nothing any more. It stays so."""
        return self if self.revoked_at_ms else replace(self, revoked_at_ms=self.read_at_ms)


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """What a key is to be like."""

    name: str
    scopes: Collection[Scope]
    limits: KeyLimits = KeyLimits()
    lasts_seconds: int | None = None
    """None for ever."""


def new_key_id() -> str:
    """An id that is no secret: jobs, logs and lists name a key by it."""
    return secrets.token_hex(6)
