"""Good requests of every kind, which the fuzzer makes worse."""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import pandas as pd
import pyarrow as pa

from tests.contract.bodies import FILE, FORM, form
from tests.contract.tables import ARROW, JSON, NDJSON, PARQUET, arrow, parquet
from tests.fuzz.mutator import Mutator
from tests.fuzz.shot import Shot

Headers = Mapping[str, str]

CSV = {"Content-Type": "text/csv"}

TABLE = pd.DataFrame(
    {
        "x": [1.5, -2.0, 3e5, None, 7.25] * 4,
        "n": pd.array([1, None, 3, 4, 5] * 4, dtype="Int64"),
        "t": ["a", 'b "c"', "d,e\nf", "", "=1+1"] * 4,
        "w": pd.to_datetime(["2026-11-26T12:00:00Z"] * 20),
        "b": [True, False, True, True, False] * 4,
    }
)


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A good body."""

    headers: Headers
    body: bytes


def seeds() -> Sequence[Seed]:
    """One of each format, and each packed."""
    records = json.loads(TABLE.to_json(orient="records", date_format="iso"))
    split = json.loads(TABLE.to_json(orient="split", index=False, date_format="iso"))
    csv = TABLE.to_csv(index=False).encode()
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    table = pa.Table.from_pandas(TABLE, preserve_index=False)
    plain = [
        Seed(headers=CSV, body=csv),
        Seed(headers=CSV, body=b"x\n1\n2\n3\n"),
        Seed(headers=CSV, body=b"\xef\xbb\xbf" + csv.replace(b"\n", b"\r\n")),
        Seed(headers=FORM, body=form((FILE, csv))),
        Seed(headers=NDJSON, body=lines),
        Seed(headers=JSON, body=json.dumps(records).encode()),
        Seed(headers=JSON, body=json.dumps({"dataframe_split": split}).encode()),
        Seed(headers=JSON, body=json.dumps({"inputs": {"x": [1, 2]}}).encode()),
        Seed(headers=JSON, body=json.dumps({"instances": [{"x": 1}]}).encode()),
        Seed(headers=PARQUET, body=parquet(TABLE)),
        Seed(headers=PARQUET, body=parquet(TABLE, compression="gzip", row_group_size=5)),
        Seed(headers=ARROW, body=arrow(table)),
        Seed(headers=ARROW, body=arrow(table, compression="zstd")),
    ]
    packed = [
        Seed(
            headers={**one.headers, "Content-Encoding": "gzip"},
            body=gzip.compress(one.body, mtime=0),
        )
        for one in plain
    ]
    return [*plain, *packed]


QUERIES = (
    *("", "model=line", "model=line@champion", "model=line:1", "model=nobody", "model=petrol"),
    *("join=input", "join=x", "key=t", "key=nothing", "output=predict", "output=predict_proba"),
    *("output=contributions", "error_threshold=0", "error_threshold=-2", "priority=high"),
    *("expires_in=60", "expires_in=1e9", "deadline=5", "validate_only=true", "strict=true"),
    *("delimiter=;", "delimiter=%09", "delimiter=%00", "callback_url=http://127.0.0.1:1/x"),
    *("offset=1", "limit=0", "limit=-1", "follow=true", "format=csv", "format=parquet"),
    *("status=running", "after=job_0", "x=%ff%fe", "model=%F0%9F%98%80", "=", "&&&", "a[]=1"),
)

HEADERS: Sequence[Headers] = (
    {},
    {"Prefer": "wait=1"},
    {"Prefer": "wait=-1"},
    {"Prefer": 'wait="'},
    {"Idempotency-Key": "k"},
    {"Idempotency-Key": "k" * 300},
    {"Accept": "application/json"},
    {"Accept": "application/vnd.apache.parquet;q=0.5, */*;q=0"},
    {"Accept": "\xff"},
    {"Content-Encoding": "br"},
    {"Content-Type": "text/csv; charset=utf-16"},
    {"Content-Type": "application/json"},
    {"Content-Type": "multipart/form-data"},
    {"Expect": "100-continue"},
    {"Range": "bytes=0-1"},
    {"If-None-Match": '"'},
    {"Authorization": "Bearer x"},
    {"X-Request-ID": "a" * 500},
    {"HX-Request": "true"},
    {"Cookie": "rowmill_session=\xff"},
    {"Last-Event-ID": "-1"},
)

SUBMITS = ("/jobs", "/jobs", "/jobs", "/predict", "/predict", "/ui/models/line/jobs")

READS = (
    *("/jobs/{}", "/jobs/{}/results", "/jobs/{}/errors", "/jobs/{}/features"),
    *("/jobs/{}/deliveries", "/jobs", "/models", "/models/line", "/models/{}"),
    *("/models/line/template.csv", "/status", "/healthz", "/readyz", "/openapi.json", "/docs"),
    *("/", "/ui/models/line", "/ui/jobs", "/ui/jobs/{}", "/metrics", "/static/%2e%2e/app.py"),
)

WRITES = ("/jobs/{}/cancel", "/jobs/{}/retry", "/ui/jobs/{}/cancel", "/ui/jobs/{}/retry")


class Gunner:
    """Makes requests by chance: some good, most wrong somewhere."""

    def __init__(self, random: Random, known_ids: Sequence[str]) -> None:
        """`known_ids`: of jobs that were made; the list grows."""
        self._random = random
        self._mutator = Mutator(random)
        self._seeds = seeds()
        self._bodies = [seed.body for seed in self._seeds]
        self._known_ids = known_ids

    def shot(self) -> Shot:
        """The next one."""
        kind = self._random.random()
        if kind < 0.6:
            shot = self._submission()
        elif kind < 0.8:
            shot = self._on_job("GET", READS, b"")
        elif kind < 0.9:
            body = self._random.choice((b"", b"{}", b'{"only": "failed"}', b"[", b"null"))
            shot = self._on_job("POST", WRITES, body)
        else:
            method = self._random.choice(("DELETE", "PUT", "HEAD", "OPTIONS", "TRACE", "PATCH"))
            shot = self._on_job(method, READS, b"")
        if self._random.random() < 0.15:
            head = self._mutator.mutated(shot.head)
            return Shot(head=head, body=shot.body, is_http=False)
        return shot

    def _submission(self) -> Shot:
        seed = self._random.choice(self._seeds)
        body = seed.body
        if self._random.random() < 0.9:
            body = self._mutator.mutated(body, others=self._bodies)
        headers = {**seed.headers, **self._some_headers()}
        # Of a format that is not what it says.
        if self._random.random() < 0.1:
            headers |= self._random.choice(self._seeds).headers
        target = f"{self._random.choice(SUBMITS)}?{self._query()}"
        return Shot.of("POST", target, headers, body)

    def _on_job(self, method: str, targets: Sequence[str], body: bytes) -> Shot:
        path = self._random.choice(targets).format(self._id())
        return Shot.of(method, f"{path}?{self._query()}", self._some_headers(), body)

    def _id(self) -> str:
        if self._known_ids and self._random.random() < 0.8:
            return self._random.choice(self._known_ids[-50:])
        return self._random.choice(("job_" + "0" * 32, "job_", "%00", "x" * 200, "..%2f..", "line"))

    def _query(self) -> str:
        chosen = [self._random.choice(QUERIES) for _ in range(self._random.choice((0, 1, 1, 2)))]
        if self._random.random() < 0.7:
            chosen.insert(0, "model=line")
        return "&".join(chosen)

    def _some_headers(self) -> Headers:
        return self._random.choice(HEADERS) if self._random.random() < 0.4 else {}
