"""What Celery is told of its broker."""

import ssl

import pytest
from pydantic import ValidationError

from shared.broker import Broker
from shared.dispatch import make_celery
from shared.settings import Settings


def test_the_broker_is_the_redis_of_jobs_unless_there_is_another() -> None:
    redis = Settings(redis_url="redis://one/1").broker
    other = Settings(redis_url="redis://one/1", broker_url="redis://two").broker
    rabbit = Settings(redis_url="redis://one/1", broker_url="amqp://u:p@three/v").broker

    assert (redis.url, other.url) == ("redis://one:6379/1", "redis://two:6379/0")
    assert rabbit.url == "amqp://u:p@three/v"


def test_options_of_redis_are_not_passed_to_rabbitmq() -> None:
    redis, rabbit = Broker.of("redis://one"), Broker.of("", "amqp://u:p@three//")

    assert "visibility_timeout" in redis.transport_options
    assert set(rabbit.transport_options) == {"connect_timeout", "read_timeout", "write_timeout"}
    assert rabbit.tls is None


def test_rabbitmq_is_checked_where_it_speaks_tls() -> None:
    broker = Broker.of("", "amqps://u:p@three//?ssl_ca_certs=/ca.pem")

    assert broker.url == "amqps://u:p@three//"
    assert broker.tls == {
        "cert_reqs": ssl.CERT_REQUIRED,
        "server_hostname": None,
        "ca_certs": "/ca.pem",
    }


def test_messages_are_json_and_outlast_no_restart_of_the_broker() -> None:
    celery = make_celery(Settings(redis_url="redis://one", broker_url="amqp://u:p@three//"))

    assert celery.conf.broker_url == "amqp://u:p@three//"
    assert celery.conf.accept_content == ["json"]
    assert celery.conf.task_default_delivery_mode == "transient"


@pytest.mark.parametrize(
    "url", ["sqs://key:secret@", "amqp://", "amqp://u:se/cret@host", "amqp://h:port", "kafka://h"]
)
def test_what_is_no_broker_is_refused_without_showing_any_of_it(url: str) -> None:
    with pytest.raises(ValidationError, match="ROWMILL_REDIS_URL takes it") as caught:
        Settings(broker_url=url)

    assert "cret" not in str(caught.value)


def test_the_url_of_a_broker_is_not_shown() -> None:
    assert "hush" not in repr(Settings(broker_url="amqp://u:hush@three//"))
