"""URLs of Redis that hide their password from people and not from clients."""

import pytest

from shared.redis_url import RedisUrl

URL = RedisUrl("redis://rowmill:s3cret%2F@redis:6379/0?ssl_cert_reqs=none")


def test_a_password_is_hidden_wherever_the_url_is_shown() -> None:
    shown = [repr(URL), str(URL), f"{URL}", str([URL]), f"{URL:>99}"]

    assert not any("s3cret" in text for text in shown)
    assert str(URL) == "redis://rowmill:***@redis:6379/0?ssl_cert_reqs=none"


def test_a_password_among_the_options_is_hidden_too() -> None:
    url = RedisUrl("unix:///run/redis.sock?password=s3cret&db=1")

    assert str(url) == "unix:///run/redis.sock?password=***&db=1"


def test_a_client_gets_the_whole_url() -> None:
    assert URL == "redis://rowmill:s3cret%2F@redis:6379/0?ssl_cert_reqs=none"
    assert URL.startswith("redis://rowmill:s3cret")


@pytest.mark.parametrize("url", ["unix:///run/redis.sock", "redis://rowmill@redis:6379/0"])
def test_a_url_without_a_password_is_shown_as_it_is(url: str) -> None:
    assert str(RedisUrl(url)) == url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://rowmill@redis:6379/0", "redis://rowmill:a%2Fb@redis:6379/0"),
        ("redis://redis:6379/0", "redis://:a%2Fb@redis:6379/0"),
        ("rediss://rowmill@redis", "rediss://rowmill:a%2Fb@redis"),
        ("unix://rowmill@/run/redis.sock", "unix://rowmill:a%2Fb@/run/redis.sock"),
        ("redis://rowmill:own@redis:6379/0", "redis://rowmill:own@redis:6379/0"),
    ],
)
def test_a_password_is_put_where_there_is_none(url: str, expected: str) -> None:
    assert RedisUrl(url).with_password("a/b") == expected


def test_no_password_changes_nothing() -> None:
    assert RedisUrl("redis://redis").with_password("") == "redis://redis"
