"""Reads server-sent events as an EventSource does (HTML standard, §9.2.6)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from tests.live_stack import Api


@dataclass(frozen=True, kw_only=True)
class Event:
    id: str
    name: str
    job: dict[str, Any]
    """The document in its data."""


@contextmanager
def watched(api: Api, path: str, **headers: str) -> Iterator[requests.Response]:
    """The stream at a job's `events`."""
    sent = {"Accept": "text/event-stream"} | headers
    with requests.get(f"{api.url}{path}", headers=sent, stream=True, timeout=60) as answer:
        assert answer.status_code == 200, answer.text
        yield answer


def events_of(answer: requests.Response) -> Iterator[Event]:
    """The events of a stream as they come; raises when it breaks off."""
    fields: dict[str, str] = {}
    for raw in answer.iter_lines(chunk_size=1):
        line = raw.decode()
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(":")
            assert name in {"id", "event", "data", "retry"}
            assert name not in fields
            fields[name] = value.removeprefix(" ")
        else:
            if "data" in fields:
                job = json.loads(fields["data"])
                yield Event(id=fields["id"], name=fields["event"], job=job)
            fields = {}
