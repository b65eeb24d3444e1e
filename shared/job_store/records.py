"""A job's record: its fields in Redis, and the job they make.

| field                          | set by                                              |
|--------------------------------|-----------------------------------------------------|
| spec                           | create_job: what was asked for, as JSON, fixed      |
| retention_seconds,             | create_job: taken out of the spec and the settings  |
| active_seconds,                | for the scripts                                     |
| tombstone_seconds,             |                                                     |
| error_threshold                |                                                     |
| status, …_at_ms                | the scripts                                         |
| total, chunks_total            | append_chunk                                        |
| is_received, input_…           | close_input                                         |
| chunks_dispatched              | append_chunk, commit_chunk                          |
| chunks_done, succeeded, failed | commit_chunk                                        |
| error_code, error_detail       | the script that ended the job                       |
"""

from collections.abc import Mapping

from pydantic import TypeAdapter

from shared.chunks import ChunkPlan
from shared.jobs import Job, JobSpec

_SPEC = TypeAdapter(JobSpec)
_PLAN = TypeAdapter(ChunkPlan)
_JOB = TypeAdapter(Job)
_COUNTERS = ("total", "succeeded", "failed", "chunks_total", "chunks_done")


def new_record(
    spec: JobSpec, *, active_seconds: int, tombstone_seconds: int
) -> list[str | bytes | int]:
    """Fields and values of the record of a job that begins, one after the other."""
    fields: dict[str, str | bytes | int] = {
        "spec": _SPEC.dump_json(spec),
        "retention_seconds": spec.retention_seconds,
        "active_seconds": active_seconds,
        "tombstone_seconds": tombstone_seconds,
        "error_threshold": spec.error_threshold,
    }
    return [part for pair in fields.items() for part in pair]


def parse_job(job_id: str, record: Mapping[bytes, bytes], *, read_at_ms: int) -> Job:
    """The job a record describes. Raises pydantic.ValidationError on a record not written here."""
    fields: dict[str, object] = dict.fromkeys(_COUNTERS, 0)
    fields |= {name.decode(): value.decode() for name, value in record.items()}
    spec = parse_spec(record[b"spec"])
    return _JOB.validate_python(fields | {"id": job_id, "spec": spec, "read_at_ms": read_at_ms})


def parse_spec(text: bytes) -> JobSpec:
    return _SPEC.validate_json(text)


def dump_plan(plan: ChunkPlan) -> bytes:
    return _PLAN.dump_json(plan)


def parse_plan(text: bytes) -> ChunkPlan:
    return _PLAN.validate_json(text)
