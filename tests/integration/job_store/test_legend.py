"""What the tables of `keys.py` and `records.py` promise is what there is in the server."""

import inspect
import re
from fnmatch import fnmatch
from importlib import resources

from shared.job_store import keys, records, scripts
from tests.integration.job_store.every_state import jobs_in_every_state
from tests.job_steps import JobSteps

WITHOUT_LIFETIME = ("sweep", "stays", "take", "end")
"""Words of the legend for keys that are looked after and not left to a TTL."""


def table_rows(module: object) -> list[list[str]]:
    """Cells of the table in a module's docstring, a row each line, without head and rule."""
    lines = [line for line in str(inspect.getdoc(module)).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def legend() -> dict[str, list[str]]:
    """Type, content, lifetime and writer by key, of the rows that begin one."""
    return {name: rest for name, *rest in table_rows(keys) if name}


def content_of(name: str) -> str:
    """What the legend says of a key's content, over all lines of its row."""
    rows = table_rows(keys)
    first = next(at for at, row in enumerate(rows) if row[0] == name)
    behind = next((at for at, row in enumerate(rows) if at > first and row[0]), len(rows))
    return " ".join(row[2] for row in rows[first:behind])


def general(key: str) -> str:
    """A key of the server as the legend writes it."""
    key = re.sub(r"\{job_\w+\}", "{id}", key)
    key = re.sub(r"^ready:(small|bulk):.*$", "ready:{lane}:{caller}", key)
    key = re.sub(r"^ready:(small|bulk)$", "ready:{lane}", key)
    key = re.sub(r"^waiting:(small|bulk)$", "waiting:{lane}", key)
    key = re.sub(r"^(job:\{id\}:input):\d+$", r"\1:{n}", key)
    key = re.sub(r"^callbacks:.*$", "callbacks:{host}", key)
    key = re.sub(r"^leases:.*$", "leases:{worker}", key)
    key = re.sub(r"^opened:.*$", "opened:{worker}", key)
    key = re.sub(r"^bell:.*$", "bell:{worker process}", key)
    key = re.sub(r"^woken:.*$", "woken:{lane}", key)
    return re.sub(r"^idempotency:.*$", "idempotency:{key}", key)


def test_every_key_in_the_server_is_in_the_legend_with_its_type(steps: JobSteps) -> None:
    jobs_in_every_state(steps)

    found = {
        (general(key.decode()), steps.redis.type(key).decode()) for key in steps.redis.scan_iter()
    }

    assert found == {(key, kind) for key, (kind, *_) in legend().items() if kind != "channel"}


def test_every_key_expires_unless_the_legend_names_who_looks_after_it(steps: JobSteps) -> None:
    jobs_in_every_state(steps)

    lasting = {general(key.decode()) for key in steps.redis.scan_iter() if steps.redis.ttl(key) < 0}

    promised = {key for key, (*_, lifetime, _) in legend().items() if lifetime in WITHOUT_LIFETIME}
    assert lasting == promised


def test_lines_of_waiting_jobs_last_however_short_lived_the_last_of_them_is(
    steps: JobSteps,
) -> None:
    steps.submit(caller="me")
    job_id = steps.submit(caller="me")
    steps.redis.hset(keys.record(job_id), "terms", "1 1 1 0 -1")
    steps.append(job_id, 1)

    assert {steps.redis.ttl(key) for key in steps.redis.scan_iter("ready:*")} == {-1}


def test_every_field_of_a_record_is_in_the_table(steps: JobSteps) -> None:
    jobs = jobs_in_every_state(steps)

    names = ", ".join(row[0] for row in table_rows(records)).replace("…", "*")
    patterns = [name for name in re.split(r"[, ]+", names) if name]
    written = {
        field.decode() for job_id in jobs for field in steps.redis.hkeys(keys.record(job_id))
    }
    assert [name for name in written if not any(fnmatch(name, p) for p in patterns)] == []
    assert [p for p in patterns if not any(fnmatch(name, p) for name in written)] == []


def test_every_field_of_a_chunk_is_in_the_legend(steps: JobSteps) -> None:
    jobs = jobs_in_every_state(steps)

    fields = {
        re.sub(r"^\d+", "n", field.decode())
        for job_id in jobs
        for field in steps.redis.hkeys(keys.chunks(job_id))
    }

    named = set(re.findall(r"(n(?::\w+)?) →", content_of("job:{id}:chunks")))
    assert fields == named


def test_the_legend_names_every_key_of_a_job() -> None:
    of_jobs = {key.removeprefix("job:{id}") for key in legend() if key.startswith("job:")}

    assert of_jobs == {*keys.JOB_KEY_SUFFIXES, ":input:{n}"}


def test_all_keys_of_a_job_share_one_hash_tag(steps: JobSteps) -> None:
    job_id = steps.submit()
    made = {
        build(job_id)
        for build in (
            keys.record,
            keys.chunks,
            keys.tombstone,
            keys.progress,
            keys.deliveries,
        )
    } | {key.decode() for key in steps.redis.scan_iter("job:*")}

    assert {re.findall(r"\{(.*?)\}", key)[0] for key in made} == {job_id}


def test_only_scripts_that_bring_work_are_refused_when_memory_is_full() -> None:
    folder = resources.files("shared.job_store") / "lua"
    names = {
        path.name.removesuffix(".lua") for path in folder.iterdir() if not path.name.startswith("_")
    }

    brings_work = names - set(scripts.LEADING_ON) - set(scripts.READING)
    assert brings_work == {"create_job", "submit_jobs"}
    assert set(scripts.LEADING_ON) <= names
