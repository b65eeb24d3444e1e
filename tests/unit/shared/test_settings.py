"""Settings that are more than a number or a word."""

import base64
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.settings import Auth, Settings

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(64))).decode()


def test_secrets_of_webhooks_are_split_and_never_shown() -> None:
    settings = Settings(webhook_secret=f" {SECRET}  {OTHER.rstrip('=')}")

    assert settings.webhook_secrets == (SECRET, OTHER.rstrip("="))
    assert SECRET not in repr(settings)
    assert Settings().webhook_secrets == ()


@pytest.mark.parametrize(
    "secret",
    [
        SECRET.removeprefix("whsec_"),
        "whsec_",
        "whsec_c2hvcnQ=",
        "whsec_" + "A" * 33,
        "whsec_" + "*" * 32,
        "whsec_" + "A" * 128,
        f"{SECRET} x",
    ],
)
def test_a_secret_that_could_not_sign_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(ValidationError, match="webhook_secret") as caught:
        Settings(webhook_secret=secret)

    assert "input_value" not in str(caught.value)


def test_pauses_are_numbers_of_seconds() -> None:
    assert Settings(webhook_retry_seconds="0.5 2").webhook_pauses == (0.5, 2)
    assert Settings(webhook_retry_seconds=" ").webhook_pauses == ()
    assert len(Settings().webhook_pauses) == 9
    with pytest.raises(ValidationError):
        Settings(webhook_retry_seconds="5, 10")


def test_a_payload_url_holds_no_credentials() -> None:
    assert Settings(payload_url="s3://bucket/prefix").payload_url == "s3://bucket/prefix"
    assert Settings(payload_url="").payload_url == ""
    with pytest.raises(ValidationError, match="payload_url") as caught:
        Settings(payload_url="s3://key:hidden@bucket/prefix")

    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost"])
def test_on_loopback_no_keys_are_needed(host: str) -> None:
    assert not Settings(host=host).needs_keys
    assert not Settings(host="0.0.0.0", published_host=host).needs_keys
    assert Settings(host=host, published_host="0.0.0.0").needs_keys


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example"])
def test_elsewhere_keys_are_needed_unless_told_so(host: str) -> None:
    assert Settings(host=host).needs_keys
    assert not Settings(host=host, auth=Auth.OFF).needs_keys
    assert Settings(auth=Auth.REQUIRED).needs_keys


def test_a_word_that_is_no_way_to_ask_for_keys_is_refused() -> None:
    with pytest.raises(ValidationError, match="auth"):
        Settings(auth="on")  # type: ignore[arg-type]


# --- the password of Redis


def test_the_password_of_redis_comes_from_its_variable_or_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from file\n")
    url = "redis://rowmill@redis:6379/0"

    by_variable = Settings(redis_url=url, redis_password="by/variable")
    by_file = Settings(redis_url=url, redis_password_file=str(file))

    assert by_variable.redis_url == "redis://rowmill:by%2Fvariable@redis:6379/0"
    assert by_file.redis_url == by_file.broker.url == "redis://rowmill:from%20file@redis:6379/0"
    assert "variable" not in repr(by_variable)
    assert "from file" not in repr(by_file) + str(by_file.redis_url)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_password_from_a_file_is_all_but_the_end_of_its_line(tmp_path: Path, end: str) -> None:
    file = tmp_path / "password"
    file.write_bytes(f" by hand {end}".encode())

    settings = Settings(redis_url="redis://rowmill@redis", redis_password_file=str(file))

    assert settings.redis_url == "redis://rowmill:%20by%20hand%20@redis"


def test_a_password_file_that_is_not_there_is_named_and_no_password_shown(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(ValidationError, match="ROWMILL_REDIS_PASSWORD_FILE: No such") as caught:
        Settings(redis_url="redis://:hidden@redis", redis_password_file=str(missing))

    assert "hidden" not in str(caught.value)
