"""The consumer of a worker's messages, where Celery's own would end the worker."""

import logging
from typing import Any

import pytest

from worker.consumer import PatientConsumer


class LostConnection:
    """One whose channel has a message that is not acknowledged, as kombu 5.7 leaves it."""

    connection_errors = channel_errors = (OSError,)

    def collect(self, **_: Any) -> None: ...

    def close(self) -> None:
        raise AttributeError("'NoneType' object has no attribute 'hostname'")


def test_a_lost_connection_that_can_not_be_closed_is_let_go_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    consumer = object.__new__(PatientConsumer)
    consumer.connection = LostConnection()

    with caplog.at_level(logging.WARNING, logger="worker.consumer"):
        consumer.on_connection_error_after_connected(ConnectionResetError("by peer"))

    assert consumer.connection is None
    assert [record.message for record in caplog.records if record.name == "worker.consumer"] == [
        "lost connection not closed"
    ]
