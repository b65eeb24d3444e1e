"""The command that manages API keys: `python -m api.keys create|list|rotate|revoke`.

A token is printed once and alone on standard output, so that `$(…)` takes it; all words about it go
to standard error.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import click

from api.audit import log
from shared import logs
from shared.api_keys import ApiKey, KeyLimits, NewKey, Scope, Token
from shared.errors import RowmillError, StoreReadOnlyError, StoreUnavailableError
from shared.job_store.api_keys import ApiKeys
from shared.job_store.connection import connect
from shared.redis_address import RedisAddress
from shared.settings import Settings

MAX_NAME_CHARS = 100
"""Longest name of a key: it stands in a line of a list, and in each line of the audit log."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

MAX_SECONDS = 36500 * 86400
"""A key that is to be good for longer than a hundred years is one without an end; calendars end,
too."""


class KeyName(click.ParamType[str]):
    """Text that spoils neither a list nor a terminal."""

    name = "text"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        text = str(value)
        if not text.strip() or not text.isprintable() or len(text) > MAX_NAME_CHARS:
            self.fail(f"write 1 to {MAX_NAME_CHARS} printable characters", param, ctx)
        return text


class Duration(click.ParamType[int]):
    """A whole number and a unit, such as 90d, as seconds."""

    name = "duration"

    # Any: what click gives to convert, and passes on to tell of errors.
    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        match = re.fullmatch(r"([1-9]\d*)([smhd])", str(value), re.ASCII)
        seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
        if not 0 < seconds <= MAX_SECONDS:
            self.fail(
                "write a whole number and s, m, h or d, such as 90d; 36500d at most", param, ctx
            )
        return seconds


_COUNT = click.IntRange(min=1)
_HEADER = ("ID", "NAME", "SCOPES", "STATE", "CREATED", "EXPIRES", "LIMITS")


@click.group(help="Create, list, rotate and revoke API keys.")
def main() -> None:
    logs.configure(Settings().log_level)


@main.command()
@click.option(
    "--name", required=True, type=KeyName(), help="What people call it, such as who uses it."
)
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    required=True,
    help="What it is good for; give it several times for several.",
)
@click.option("--expires-in", type=Duration(), help="How long it is good, such as 90d or 12h.")
@click.option("--requests-per-minute", type=_COUNT, help="In place of the setting's number.")
@click.option("--rows-per-day", type=_COUNT, help="In place of the setting's number.")
@click.option("--jobs-in-flight", type=_COUNT, help="In place of the setting's number.")
def create(
    name: str,
    scopes: tuple[str, ...],
    expires_in: int | None,
    **limits: int | None,
) -> None:
    """Create a key and print its token."""
    new = NewKey(
        name=name,
        scopes=[*map(Scope, scopes)],
        limits=KeyLimits(**limits),
        lasts_seconds=expires_in,
    )
    with _keys() as keys:
        key, token = keys.create(new)
    _show(key, token, "key_created")


@main.command(name="list")
def list_keys() -> None:
    """List all keys, also those that were revoked."""
    with _keys() as keys:
        found = keys.all()
    lines = [_HEADER, *map(_line, found)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


@main.command()
@click.argument("key_id", metavar="ID")
def rotate(key_id: str) -> None:
    """Give a key a new secret and print the new token; the old one is good no more."""
    with _keys() as keys:
        key, token = keys.rotate(key_id)
    _show(key, token, "key_rotated")


@main.command()
@click.argument("key_id", metavar="ID")
def revoke(key_id: str) -> None:
    """Have a key open nothing any more, within two seconds."""
    with _keys() as keys:
        key = keys.revoke(key_id)
    log("key_revoked", key_id=key.id, key_name=key.name)
    click.echo(f"Key {key.id} ({key.name}) is revoked.", err=True)


@contextmanager
def _keys() -> Iterator[ApiKeys]:
    """The keys of this service; what goes wrong is one line."""
    url = Settings().redis_url
    redis = connect(url)
    try:
        yield ApiKeys(redis)
    except StoreReadOnlyError as error:
        raise click.ClickException(str(error)) from error
    except StoreUnavailableError as error:
        # Not the URL: it may hold a password.
        raise click.ClickException(
            f"Redis at {RedisAddress.parse(url).where} does not answer. Start the service; if it "
            "runs, set ROWMILL_RUN_DIR or ROWMILL_REDIS_URL to what it was started with."
        ) from error
    except RowmillError as error:
        raise click.ClickException(str(error)) from error
    finally:
        redis.close()


def _show(key: ApiKey, token: Token, action: str) -> None:
    log(action, key_id=key.id, key_name=key.name, scopes=sorted(key.scopes))
    click.echo(f"The token of key {key.id} ({key.name}); it is not shown again:", err=True)
    click.echo(token.text)


def _line(key: ApiKey) -> tuple[str, ...]:
    expires = _day(key.expires_at_ms) if key.expires_at_ms else "never"
    scopes = ",".join(scope for scope in Scope if scope in key.scopes)
    created = _day(key.created_at_ms)
    return (key.id, key.name, scopes, key.state, created, expires, _own(key.limits))


def _own(limits: KeyLimits) -> str:
    """Those that the key has of its own, in place of the settings'."""
    counts = (
        (limits.requests_per_minute, "requests/min"),
        (limits.rows_per_day, "rows/day"),
        (limits.jobs_in_flight, "jobs"),
    )
    return ", ".join(f"{count} {unit}" for count, unit in counts if count is not None) or "-"


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


if __name__ == "__main__":
    main()
