"""What handles say of jobs on a real stack."""

from collections.abc import Iterator

import pytest

from rowmill.client import Client
from rowmill.errors import JobFailedError, ProblemError
from tests.live_stack import Api


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    with Client(api.url) as client:
        yield client


def test_a_job_without_a_callback_has_no_deliveries(client: Client) -> None:
    handle = client.submit(b"x\n6\n", model="echo")

    deliveries = handle.deliveries()

    assert (deliveries.state, deliveries.url, deliveries.attempts) == ("none", None, ())


def test_a_handle_cancels_its_job_and_then_has_it_gone(client: Client) -> None:
    handle = client.submit(b"x\n" + b"1\n" * 20_000, model="slow")

    assert handle.cancel().status == "cancelled"
    with pytest.raises(JobFailedError, match="cancelled"):
        handle.wait(10)
    handle.delete()
    with pytest.raises(ProblemError) as caught:
        handle.refresh()

    assert caught.value.code == "job_gone"


def test_a_handle_is_had_again_by_another_client(client: Client, api: Api) -> None:
    job_id = client.submit(b"x\n6\n", model="echo").id

    with Client(api.url) as another:
        handle = another.handle(job_id)

        assert handle.wait(60).succeeded == 1
        assert b"".join(handle.results("ndjson")).startswith(b'{"row": 1, "prediction": 60')
