"""Every key Rowmill writes to Redis (Celery's own queue keys aside).

| key                | type    | content                              | lifetime      | written by |
|--------------------|---------|--------------------------------------|---------------|------------|
| job:{id}           | hash    | the job's record, see `records.py`   | job           | both sides |
| job:{id}:chunks    | hash    | n → plan; n:token → fencing token    | job           | both sides |
|                    |         | (number of leases given); n:owner →  |               |            |
|                    |         | who holds the newest lease           |               |            |
| job:{id}:inputs    | hash    | n → CSV records as they were sent    | until commit  | API        |
| job:{id}:results   | hash    | n → result lines, CSV without header | job           | workers    |
| job:{id}:errors    | hash    | n → row errors, CSV without header   | job           | workers    |
| job:{id}:tombstone | string  | `expired` or `deleted`: what to say  | job and after | API        |
|                    |         | when the record is gone              |               |            |
| job:{id}:ended     | channel | one message when the job ends        | –             | both sides |
| jobs               | zset    | ids of jobs, all of score 0, so that | trimmed by    | API        |
|                    |         | they sort by id and thereby by time  | every submit  |            |
| workers            | hash    | worker → `last seen (s) processes`   | an hour       | workers    |
| speeds             | hash    | name/version → rows/s, smoothed      | a month       | workers    |

The braces are real: they are the hash tag that keeps all keys of a job in one cluster slot. "Job"
as a lifetime is the job's retention, counted anew at every change until the job has ended.
"""

JOBS = "jobs"
WORKERS = "workers"
SPEEDS = "speeds"

JOB_KEY_SUFFIXES = ("", ":chunks", ":inputs", ":results", ":errors", ":tombstone", ":ended")
"""In the order in which every script takes the keys of a job."""


def job_keys(job_id: str) -> list[str]:
    """All keys of a job, as the scripts take them."""
    return [f"job:{{{job_id}}}{suffix}" for suffix in JOB_KEY_SUFFIXES]


def record(job_id: str) -> str:
    return f"job:{{{job_id}}}"


def results(job_id: str) -> str:
    return f"job:{{{job_id}}}:results"


def errors(job_id: str) -> str:
    return f"job:{{{job_id}}}:errors"


def tombstone(job_id: str) -> str:
    return f"job:{{{job_id}}}:tombstone"


def ended(job_id: str) -> str:
    return f"job:{{{job_id}}}:ended"
