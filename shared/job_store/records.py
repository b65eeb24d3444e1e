"""A job's record: its fields in Redis, and the job they make. How chunks are written beside it.

| field                          | set by                                               |
|--------------------------------|------------------------------------------------------|
| spec                           | create_job, submit_jobs: what was asked for, as JSON |
| terms                          | create_job, submit_jobs: retention, seconds without  |
|                                | a change, lifetime of the tombstone, deadline, error |
|                                | threshold, for the scripts                           |
| model, lane, caller            | create_job, submit_jobs                              |
| payload_url                    | create_job: object store that the bytes of chunks    |
|                                | are in, if not in Redis                              |
| owner                          | create_job, submit_jobs: whose it is, if anybody's   |
| most_in_flight                 | create_job, submit_jobs: jobs that its owner may     |
|                                | have, this one included, that have not ended, if     |
|                                | that is bounded                                      |
| trail                          | create_job, submit_jobs: id of the request, and its  |
|                                | place in a trace if there is one                     |
| awaited_by                     | submit_jobs, await_end: channels on which the end is |
|                                | told, if anybody waits for it                        |
| idempotency_key                | create_job, submit_jobs, if the request had one      |
| callback_url                   | create_job, submit_jobs: where the end is told to,   |
|                                | if anywhere                                          |
| expected_rows, expected_bytes  | create_job, append_chunk: rows, and memory that the  |
|                                | body and its results take, which are expected        |
|                                | beyond the chunks taken in                           |
| status, …_at_ms                | the scripts                                          |
| total, chunks_total            | append_chunk, submit_jobs                            |
| is_received, input_…           | close_input, submit_jobs                             |
| is_ready                       | the scripts: the job is in its caller's line         |
| chunks_taken                   | take_chunks: chunks that were leased at least once   |
| attempts_lost, attempts_died   | beat, sweep, return_chunk                            |
| chunks_done, succeeded, failed | commit_chunks                                        |
| feature_counts                 | commit_chunks: what rows show of the features, as    |
|                                | `FeatureCounts.dump` writes it                       |
| error_code, error_detail       | the script that ended the job                        |
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

from pydantic import TypeAdapter

from shared.chunks import ChunkPlan, ChunkResult, RejectedRows
from shared.feature_counts import FeatureCounts
from shared.job_store import connection
from shared.jobs import Job, JobSpec, JobTerms

_SPEC = TypeAdapter(JobSpec)
_PLAN = TypeAdapter(ChunkPlan)
_JOB = TypeAdapter(Job)
_MADE_HERE = ("id", "spec", "read_at_ms")
OF_JOB = tuple(f.name for f in dataclasses.fields(Job) if f.name not in _MADE_HERE)
"""Fields of a record that a `Job` has besides its spec."""

_NO_COUNTS = dict.fromkeys(("total", "succeeded", "failed", "chunks_total", "chunks_done"), 0)


def new_record(
    spec: JobSpec, terms: JobTerms, *, active_seconds: int, tombstone_seconds: int
) -> list[str | bytes | float]:
    """Fields and values of the record of a job that begins, one after the other."""
    # In the order in which `_job.lua` reads them. With one more, workers of another version would
    # read none of them.
    lasting = [spec.retention_seconds, active_seconds, tombstone_seconds]
    lasting += [spec.deadline_seconds or 0, spec.error_threshold]
    fields: dict[str, str | bytes | float] = {
        "spec": _SPEC.dump_json(spec),
        "terms": " ".join(map(str, lasting)),
        "model": spec.speed_id,
        "lane": terms.lane,
        "caller": terms.caller,
    }
    if spec.payload_url:
        fields["payload_url"] = spec.payload_url
    if terms.owner:
        fields["owner"] = terms.owner
    if terms.most_in_flight:
        fields["most_in_flight"] = terms.most_in_flight
    if terms.awaited_by:
        fields["awaited_by"] = terms.awaited_by
    if terms.callback_url:
        fields["callback_url"] = terms.callback_url
    return [part for pair in fields.items() for part in pair]


def parse_job(job_id: str, record: Mapping[bytes, bytes], *, read_at_ms: int) -> Job:
    """The job a record describes. Raises pydantic.ValidationError on a record not written here."""
    fields = {name: value for name in OF_JOB if (value := record.get(name.encode())) is not None}
    return _job(job_id, parse_spec(record[b"spec"]), fields, read_at_ms=read_at_ms)


def parse_told_job(
    job_id: str, spec: JobSpec, values: Sequence[str | Literal[False]], *, read_at_ms: int
) -> Job:
    """As `parse_job`, of what a script told: a value or False for each field in `OF_JOB`."""
    told = zip(OF_JOB, values, strict=True)
    fields = {name: value for name, value in told if value is not False}
    return _job(job_id, spec, fields, read_at_ms=read_at_ms)


def _job(job_id: str, spec: JobSpec, fields: Mapping[str, bytes | str], *, read_at_ms: int) -> Job:
    own: dict[str, object] = {"id": job_id, "spec": spec, "read_at_ms": read_at_ms}
    if counts := fields.get("feature_counts"):
        own["feature_counts"] = FeatureCounts.parse(connection.text(counts))
    return _JOB.validate_python({**_NO_COUNTS, **fields, **own})


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """A hash as a script returns it, fields and values one after the other."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


@lru_cache(maxsize=64)
def parse_spec(text: bytes) -> JobSpec:
    """Cached, since most small jobs want the same as the ones before."""
    return _SPEC.validate_json(text)


def dump_plan(plan: ChunkPlan) -> bytes:
    return _PLAN.dump_json(plan, exclude_defaults=True)


def parse_plan(text: bytes) -> ChunkPlan:
    return _PLAN.validate_json(text)


def dump_rejects(rejected: RejectedRows) -> bytes:
    """Failed rows: a line that says which, then their records. Empty for none."""
    if not rejected.rows:
        return b""
    which = json.dumps({"rows": rejected.rows, "lines": rejected.lines})
    return which.encode() + b"\n" + rejected.records


def parse_rejects(text: bytes) -> RejectedRows:
    which, _, records = text.partition(b"\n")
    if not which:
        return RejectedRows()
    fields = json.loads(which)
    return RejectedRows(rows=tuple(fields["rows"]), lines=tuple(fields["lines"]), records=records)


def dump_result(result: ChunkResult) -> bytes:
    """The result of a part of a chunk: a line with counts and sizes, then its texts."""
    rejects = dump_rejects(result.rejected)
    sizes = [len(result.results), len(result.errors)]
    counts = [result.succeeded, result.failed, *sizes, result.feature_counts.dump()]
    head = json.dumps(counts).encode()
    return b"".join((head, b"\n", result.results, result.errors, rejects))


def parse_result(text: bytes) -> ChunkResult:
    head, _, texts = text.partition(b"\n")
    succeeded, failed, results, errors, feature_counts = json.loads(head)
    return ChunkResult(
        results=texts[:results],
        errors=texts[results : results + errors],
        succeeded=succeeded,
        failed=failed,
        rejected=parse_rejects(texts[results + errors :]),
        feature_counts=FeatureCounts.parse(feature_counts),
    )
