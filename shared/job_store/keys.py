"""Every key Rowmill writes to Redis (Celery's own queue keys aside).

| key                   | type    | content                              | lifetime     | by      |
|-----------------------|---------|--------------------------------------|--------------|---------|
| job:{id}              | hash    | the job's record, see `records.py`   | job          | both    |
| job:{id}:chunks       | hash    | n → plan; n:token → fencing token;   | job          | both    |
|                       |         | n:attempts → leases given;           |              |         |
|                       |         | n:running → rows being scored;       |              |         |
|                       |         | n:lost → how attempts were lost      |              |         |
|                       |         | n:growth → bytes its results take;   |              |         |
|                       |         | n:worker → who leased it last, whose |              |         |
|                       |         | result it has when it is committed   |              |         |
| job:{id}:input:{n}    | string  | records of a chunk as they were      | until commit | API     |
|                       |         | sent: CSV, which Parquet and Arrow   |              |         |
|                       |         | become, too, or lines of JSON        |              |         |
| job:{id}:returned     | list    | chunks given back, to be run next    | until end    | workers |
| job:{id}:parts        | hash    | n:first-behind → result of a part    | until commit | workers |
|                       |         | of a chunk that lost a process       |              |         |
| job:{id}:results      | hash    | n → result lines, CSV, no header     | job          | workers |
| job:{id}:errors       | hash    | n → row errors, CSV without header   | job          | workers |
| job:{id}:rejects      | hash    | n → failed rows as they were sent    | job          | workers |
| job:{id}:deliveries   | hash    | claims → attempts begun to tell the  | job          | workers |
|                       |         | end to the callback; n → an attempt, |              |         |
|                       |         | JSON; next_at_ms, state              |              |         |
| job:{id}:tombstone    | string  | `expired` or `deleted`: what to say  | job and      | both    |
|                       |         | when the record is gone              | after        |         |
| job:{id}:progress     | channel | one message at each commit and when  | –            | both    |
|                       |         | the job ends                         |              |         |
| jobs                  | zset    | ids of jobs, all of score 0, so that | sweep        | both    |
|                       |         | they sort by id, that is by time     |              |         |
| unfinished            | zset    | job that has not ended → its lane    | end          | both    |
|                       |         | and status, see `stages.py`          |              |         |
| expiries              | zset    | job → when it expires (ms)           | sweep        | both    |
| deadlines             | zset    | job → when it must have ended (ms)   | sweep        | both    |
| uploads               | zset    | job whose body arrives → when its    | sweep        | API     |
|                       |         | API counts as dead (ms)              |              |         |
| callbacks             | zset    | host of callbacks → when the next is | its jobs     | both    |
|                       |         | due there (ms)                       |              |         |
| callbacks:{host}      | zset    | ended job whose callback goes there  | its jobs     | both    |
|                       |         | → when it is due (ms)                |              |         |
| ready:{lane}          | list    | callers with jobs that have chunks   | sweep        | both    |
|                       |         | to run, in the order of their turns  |              |         |
| ready:{lane}:{caller} | list    | these jobs of one caller, in turn    | sweep        | both    |
| waiting:{lane}        | zset    | `job chunk` that could be run and is | end          | both    |
|                       |         | not → since when (ms); of small jobs |              |         |
|                       |         | only what was given back             |              |         |
| workers               | hash    | worker → `last seen (ms) processes   | sweep        | workers |
|                       |         | bulk processes threads cores`        |              |         |
| leases:{worker}       | hash    | `job chunk` → `process token lane    | sweep        | workers |
|                       |         | deadline (ms)` of running attempts   |              |         |
| lingering             | zset    | `worker process` that is ready to be | take         | workers |
|                       |         | rung for → until when (ms)           |              |         |
| bell:{worker process} | list    | rings: lanes that have work for it   | 5 seconds    | both    |
| woken:{lane}          | string  | `rung`, or the `worker process` that | a second     | both    |
|                       |         | looks for work in a moment           |              |         |
| ends:{api}            | channel | ended jobs that an API process waits | –            | both    |
|                       |         | for: JSON of time (ms) and, for each |              |         |
|                       |         | job, id, values of its record and a  |              |         |
|                       |         | small job's results                  |              |         |
| sweep                 | string  | held while one worker's sweep is     | a second     | workers |
|                       |         | the newest                           |              |         |
| backlog               | hash    | rows and bytes that jobs still       | sweep        | both    |
|                       |         | bring, in all and by job; drain      |              |         |
|                       |         | rate; memory in use and the most     |              |         |
| counters              | hash    | what happened how often              | stays        | workers |
| speeds                | hash    | name/version, or that and            | a month      | workers |
|                       |         | `/contributions` or `/validate_only` |              |         |
|                       |         | → rows/s, smoothed                   |              |         |
| models                | hash    | worker → what it makes of model      | sweep        | workers |
|                       |         | versions, JSON                       |              |         |
| opened:{worker}       | hash    | process → versions it has opened     | a minute     | workers |
| serving               | hash    | model reference → version that a     | stays        | workers |
|                       |         | worker could last use for it         |              |         |
| usage                 | hash    | `name/version jobs`, `… succeeded`,  | stays        | both    |
|                       |         | `… failed` → jobs and rows           |              |         |
| comparisons           | hash    | `name/version name/shadow output     | stays        | workers |
|                       |         | rows`, `… agreed`, `… difference`,   |              |         |
|                       |         | `… skipped` → sums over rows         |              |         |
| shadowing             | hash    | `worker name/version sha256` → the   | sweep        | workers |
|                       |         | process whose turn it is to score it |              |         |
|                       |         | as a shadow                          |              |         |
| losses                | hash    | `name/version sha256` → processes    | stays        | workers |
|                       |         | that died while they did             |              |         |
| idempotency:{key}     | hash    | a request and the job it made        | job and      | API     |
|                       |         |                                      | after        |         |

The braces around a job's id are real: a job's keys carry them as a hash tag. "Job" as a lifetime is
the job's retention, counted anew at every change until the job has ended, "its jobs" that of the
last of them to go; "sweep" means that the sweep of the workers takes out what is over, "take" that
who takes chunks does, "end" that whatever ends or removes a job does.
"""

JOBS = "jobs"
UNFINISHED = "unfinished"
EXPIRIES = "expiries"
DEADLINES = "deadlines"
UPLOADS = "uploads"
CALLBACKS = "callbacks"
WORKERS = "workers"
SWEEP = "sweep"
BACKLOG = "backlog"
COUNTERS = "counters"
SPEEDS = "speeds"
MODELS = "models"
SERVING = "serving"
USAGE = "usage"
COMPARISONS = "comparisons"
SHADOWING = "shadowing"
SHADOW_LOSSES = "losses"
LINGERING = "lingering"

JOB_KEY_SUFFIXES = (
    "",
    ":chunks",
    ":returned",
    ":parts",
    ":results",
    ":errors",
    ":rejects",
    ":deliveries",
    ":tombstone",
    ":progress",
)

FOR_SCRIPTS = {
    "JOB_KEY": "job:{%s}%s",
    "JOBS": JOBS,
    "UNFINISHED": UNFINISHED,
    "EXPIRIES": EXPIRIES,
    "DEADLINES": DEADLINES,
    "UPLOADS": UPLOADS,
    "CALLBACKS": CALLBACKS,
    "CALLBACKS_OF": "callbacks:%s",
    "READY": "ready:%s",
    "READY_JOBS": "ready:%s:%s",
    "WAITING_CHUNKS": "waiting:%s",
    "WORKERS": WORKERS,
    "LEASES": "leases:%s",
    "SPEEDS": SPEEDS,
    "MODELS": MODELS,
    "USAGE": USAGE,
    "SHADOWING": SHADOWING,
    "SHADOW_LOSSES": SHADOW_LOSSES,
    "LINGERING": LINGERING,
    "BELL": "bell:%s",
    "WOKEN": "woken:%s",
    "SWEEP": SWEEP,
    "BACKLOG": BACKLOG,
    "COUNTERS": COUNTERS,
    "IDEMPOTENCY": "idempotency:%s",
}
"""Names by which the scripts know the keys; `%s` stands for ids, lanes and callers."""


def record(job_id: str) -> str:
    return _job_key(job_id)


def chunks(job_id: str) -> str:
    return _job_key(job_id, ":chunks")


def tombstone(job_id: str) -> str:
    return _job_key(job_id, ":tombstone")


def input_of(job_id: str, chunk: int) -> str:
    return _job_key(job_id, f":input:{chunk}")


def results(job_id: str) -> str:
    return _job_key(job_id, ":results")


def deliveries(job_id: str) -> str:
    return _job_key(job_id, ":deliveries")


def returned(job_id: str) -> str:
    return _job_key(job_id, ":returned")


def progress(job_id: str) -> str:
    return _job_key(job_id, ":progress")


def leases(worker: str) -> str:
    return FOR_SCRIPTS["LEASES"] % worker


def waiting(lane: str) -> str:
    return FOR_SCRIPTS["WAITING_CHUNKS"] % lane


def bell(worker: str, process: int) -> str:
    return FOR_SCRIPTS["BELL"] % f"{worker} {process}"


def opened(worker: str) -> str:
    return f"opened:{worker}"


def ends(api: str) -> str:
    return f"ends:{api}"


def idempotency(key: str) -> str:
    return FOR_SCRIPTS["IDEMPOTENCY"] % key


def _job_key(job_id: str, suffix: str = "") -> str:
    return FOR_SCRIPTS["JOB_KEY"] % (job_id, suffix)
