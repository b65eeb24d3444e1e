"""The client: submit tables, wait for jobs, read results and models.

client = Client("http://127.0.0.1:8000")
predictions = client.predict(df, model="petrol")

handle = client.submit("petrol.parquet", model="petrol")
handle.wait(progress=True)
handle.download("predictions.parquet")
"""

import math
import os
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack
from urllib.parse import quote

from rowmill.answers import parsed
from rowmill.formats import Format
from rowmill.handles import JobHandle
from rowmill.job_calls import JobCalls
from rowmill.jobs import job_from_json
from rowmill.models import Model, model_from_json
from rowmill.polling import PATIENCE_SECONDS, Clock, OnProgress
from rowmill.served import wait_until_served
from rowmill.service import Service, service_from_json
from rowmill.submission import JobOptions, SubmitOptions, body_of, headers_of, key_header, query_of
from rowmill.transport import Transport
from rowmill.uploads import OnSent, Source

if TYPE_CHECKING:
    from rowmill.frames import DataFrame

DEFAULT_URL = "http://127.0.0.1:8000"
"""Where the local stack listens."""

DEFAULT_TIMEOUT_SECONDS = 60.0
"""Silence of the server that counts as trouble. Intake may pause an upload while a queue drains."""


class Client(JobCalls):
    """One server, over one session; for one thread at a time. A context manager."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        patience: float = PATIENCE_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        """Without a URL or a key, those of `ROWMILL_URL` and `ROWMILL_API_KEY`.

        `timeout`: seconds of silence after which a request has failed. `patience`: seconds of all
        pauses before a submission, or the download of results, that failed is given up; 0 tries
        once. Raises `InvalidUrlError` and `InvalidApiKeyError`.
        """
        if url is None:
            url = os.environ.get("ROWMILL_URL") or DEFAULT_URL
        if api_key is None:
            api_key = os.environ.get("ROWMILL_API_KEY") or None
        transport = Transport(url, timeout_seconds=timeout, api_key=api_key)
        super().__init__(transport, clock=clock or Clock(), patience_seconds=patience)

    def predict(
        self,
        source: "Source | DataFrame",
        model: str | None = None,
        *,
        input_format: Format | None = None,
        timeout: float | None = None,
        progress: bool | OnProgress = False,
        **options: Unpack[JobOptions],
    ) -> "DataFrame":
        """The predictions of a data frame, or of a source as `submit` takes it, in input order.

        One row per row of the input, with the index of the data frame, so `df.join(…)` works; the
        index of any other source is the number of the row, from 1. A row without a prediction has
        its code in the column `error`. Raises what `submit` and `JobHandle.wait` raise, so
        `JobFailedError` if no row has a prediction.
        """
        handle = self.submit(source, input_format=input_format, model=model, **options)
        handle.wait(timeout, progress=progress)
        return handle.to_pandas()

    def submit(
        self,
        source: "Source | DataFrame",
        *,
        input_format: Format | None = None,
        on_sent: OnSent | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> JobHandle:
        """The new job; the source has been read to its end, in flat memory.

        A data frame, a path, bytes, or a file or pipe in binary mode. `input_format` is what the
        name of a path promises, else CSV; a path that ends in `.gz` is sent compressed as it is.
        Trouble that may pass (the connection, 429, 502, 503, 504) is tried again under the same
        `Idempotency-Key`, so one job comes of it; but a pipe, once read from, is not sent again.
        Raises `ProblemError`, also when the server refuses before the end, `SourceError`,
        `TransportError`, and `MissingPackageError` for a data frame without pyarrow.
        """
        headers = headers_of(source, input_format) | key_header(idempotency_key)
        query = query_of(options)
        with body_of(source, on_sent, key=options.get("key")) as body:
            answer = self._patience.run(
                lambda: self._transport.upload("/jobs", body, query=query, headers=headers),
                may_repeat=lambda: body.may_be_sent,
            )
        return JobHandle(self, parsed(answer, job_from_json), origin=getattr(body, "origin", None))

    def handle(self, job_id: str) -> JobHandle:
        """The handle of a job that there is. Raises `ProblemError` (404, 410)."""
        return JobHandle(self, self.job(job_id))

    def models(self) -> tuple[Model, ...]:
        """All models the server can score with."""
        answer = self._transport.fetch("GET", "/models")
        return parsed(answer, lambda body: tuple(map(model_from_json, body["models"])))

    def model(self, name: str) -> Model:
        """One model with its versions and signature. Raises `ProblemError` if there is none."""
        answer = self._transport.fetch("GET", f"/models/{quote(name, safe='')}")
        return parsed(answer, model_from_json)

    def service(self) -> Service:
        """What the server does at this moment: queue, workers, jobs."""
        return parsed(self._transport.fetch("GET", "/status"), service_from_json)

    def wait_until_served(self, reference: str, *, timeout: float = math.inf) -> Model:
        """The model, once jobs get the version that a name, name@alias or name:version means.

        Survives a server that is away. Raises `VersionFailedError`, and `VersionWaitError` after
        `timeout` seconds.
        """
        return wait_until_served(
            lambda: self.model(reference), reference, clock=self._clock, timeout_seconds=timeout
        )

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._transport.url!r})"
