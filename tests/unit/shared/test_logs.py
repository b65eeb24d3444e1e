"""Log lines: one JSON object each, with the fields of what is being done."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor

from shared import logs

FORMATTER = logs.JsonFormatter()


def line(text: str = "something happened", **extra: object) -> dict[str, object]:
    """A record as it is written."""
    record = logging.makeLogRecord({"name": "test", "levelname": "INFO", "msg": text, **extra})
    written = FORMATTER.format(record)
    assert "\n" not in written
    return dict(json.loads(written))


def test_fields_of_the_context_stand_in_every_line_until_it_is_left() -> None:
    with logs.more_fields(job_id="job_1"):
        with logs.more_fields(chunk=2):
            inner = line()
        outer = line()

    assert (inner["job_id"], inner["chunk"]) == ("job_1", 2)
    assert outer["job_id"] == "job_1"
    assert "chunk" not in outer
    assert "job_id" not in line()


def test_what_a_line_says_itself_comes_first() -> None:
    with logs.more_fields(job_id="job_1", event="another"):
        written = line("job failed", job_id="job_2")

    assert written["job_id"] == "job_2"
    assert written["event"] == "job failed"


def test_threads_have_fields_of_their_own() -> None:
    with logs.more_fields(job_id="job_1"), ThreadPoolExecutor(1) as threads:
        assert "job_id" not in threads.submit(line).result()


def test_a_line_stays_one_line_whatever_is_written() -> None:
    assert line("a\nb", reason='c\n"},{"d"')["reason"] == 'c\n"},{"d"'
