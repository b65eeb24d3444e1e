"""URLs of Redis taken apart."""

import pytest
from pydantic import ValidationError

from shared.broker import Broker
from shared.job_store.connection import connect
from shared.redis_address import RedisAddress
from shared.settings import Settings

PASSWORD = "p@ss/w:rd;%+#?"
QUOTED = "p%40ss%2Fw%3Ard%3B%25%2B%23%3F"


def test_sentinels_master_database_and_both_passwords_are_read() -> None:
    address = RedisAddress.parse(
        f"redis+sentinel://user:{QUOTED}@one,two:7000,[::1]:7001/main/3"
        f"?sentinel_username=watch&sentinel_password={QUOTED}"
    )

    assert address.sentinels == (("one", 26379), ("two", 7000), ("::1", 7001))
    assert (address.master_name, address.is_secure) == ("main", False)
    assert address.options == {"username": "user", "password": PASSWORD, "db": 3}
    assert address.sentinel_options == {"username": "watch", "password": PASSWORD}
    assert address.where == "one:26379, two:7000, ::1:7001"


@pytest.mark.parametrize(
    ("url", "where"),
    [
        (f"redis://user:{QUOTED}@host/1", "host:6379"),
        (f"rediss://:{QUOTED}@host:7000", "host:7000"),
        ("redis://", "localhost:6379"),
        (f"unix://user:{QUOTED}@/run/redis.sock?db=1", "/run/redis.sock"),
    ],
)
def test_messages_say_where_a_server_was_looked_for(url: str, where: str) -> None:
    assert RedisAddress.parse(url).where == where


def test_no_password_is_shown() -> None:
    url = f"redis+sentinel://:{QUOTED}@one/main?sentinel_password={QUOTED}"

    shown = (
        repr(RedisAddress.parse(url)) + repr(Broker.of(url)) + repr(Broker.of("", "amqp://a:b@c"))
    )

    assert PASSWORD not in shown
    assert QUOTED not in shown
    assert "a:b" not in shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://host",
        "redis://:se/cret@host",
        "redis://host:port",
        "redis://host?db=x",
        "redis+sentinel://one,two",
        "redis+sentinel:///main",
        "redis+sentinel://one,,two/main",
        "redis+sentinel://:se/cret@one/main",
        "redis+sentinel://one/main/first",
    ],
)
def test_what_is_no_url_is_refused_without_showing_any_of_it(url: str) -> None:
    with pytest.raises(ValidationError, match="percent-encode") as caught:
        Settings(redis_url=url)

    assert "secret" not in str(caught.value)
    assert "cret" not in str(caught.value)


def test_tls_and_its_options_reach_the_connections_to_servers_and_sentinels() -> None:
    options = "?ssl_ca_certs=/ca.pem&ssl_certfile=/me.pem&ssl_check_hostname=false"
    plain = connect(f"rediss://host{options}")
    by_sentinel = connect(f"rediss+sentinel://one/main{options}")
    sentinels = by_sentinel.connection_pool.sentinel_manager.sentinels

    for client in (plain, by_sentinel, *sentinels):
        connection = client.connection_pool.make_connection()
        assert connection.ca_certs == "/ca.pem"
        assert connection.certfile == "/me.pem"
        assert (connection.cert_reqs.name, connection.check_hostname) == ("CERT_REQUIRED", False)


def test_celery_gets_the_same_server_by_its_own_spelling() -> None:
    assert Broker.of("redis://host").url == "redis://host:6379/0"
    assert Broker.of(f"redis://u:{QUOTED}@[::1]:1/2").url == f"redis://u:{QUOTED}@[::1]:1/2"
    assert Broker.of("unix:///run/a.sock").url == "redis+socket:///run/a.sock?virtual_host=0"
    with_password = Broker.of(f"unix://:{QUOTED}@/run/a.sock?db=2")
    assert with_password.url == f"redis+socket://:{QUOTED}@/run/a.sock?virtual_host=2"
    assert Broker.of("redis://host").tls is None


def test_celery_checks_a_server_with_tls_unless_told_otherwise() -> None:
    checked = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}

    assert Broker.of("rediss://host").tls == checked
    own = Broker.of("rediss://host?ssl_cert_reqs=none&ssl_ca_certs=/ca.pem").tls
    assert own == checked | {"ssl_cert_reqs": "none", "ssl_ca_certs": "/ca.pem"}


def test_celery_gets_each_sentinel_with_password_and_database() -> None:
    url = f"rediss+sentinel://:{QUOTED}@one,two:7000/main/3?sentinel_password=own&ssl_ca_certs=/ca"
    broker = Broker.of(url)

    assert broker.url == f"sentinel://:{QUOTED}@one:26379/3;sentinel://:{QUOTED}@two:7000/3"
    assert broker.transport_options["master_name"] == "main"
    sentinel = broker.transport_options["sentinel_kwargs"]
    assert (sentinel["password"], sentinel["ssl"], sentinel["ssl_ca_certs"]) == ("own", True, "/ca")
    assert broker.tls is not None
    assert broker.tls["ssl_ca_certs"] == "/ca"
