"""Every setting of every process: read once from `ROWMILL_…` variables, passed as an argument."""

import base64
import os
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.broker import Broker
from shared.payloads import checked_url
from shared.redis_address import RedisAddress
from shared.redis_url import RedisUrl

SOCKET_NAME = "redis.sock"

SECRET_PREFIX = "whsec_"  # noqa: S105 – what Standard Webhooks begins every secret with


OWN_NAMES = (".localhost",)
"""Those that lead to the machine itself wherever they are looked up (RFC 6761 §6.3)."""


class Auth(StrEnum):
    """Whether callers need an API key."""

    BY_ADDRESS = ""
    REQUIRED = "required"
    OFF = "off"


class MismatchPolicy(StrEnum):
    """What becomes of a model that was trained under another version of scikit-learn."""

    REFUSE = "refuse"
    WARN = "warn"


def embedded_redis_url(run_dir: Path) -> str:
    """URL of the embedded server's socket: private to its folder, so no other server is met."""
    return f"unix://{run_dir.absolute() / SOCKET_NAME}"


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there. Of names one alone is known to."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Settings(BaseSettings):
    """What an operator may choose; each unit is in the name, each reason in the text below it."""

    model_config = SettingsConfigDict(
        env_prefix="ROWMILL_",
        env_ignore_empty=True,
        frozen=True,
        use_attribute_docstrings=True,
        # What is wrong may be a secret.
        hide_input_in_errors=True,
    )

    host: str = "127.0.0.1"
    """Address the API listens on. Where it is not loopback, callers need an API key."""

    published_host: str = ""
    """Address on which the API is reached, where that is not the one it listens on: in a container,
    behind a proxy. Empty: it is."""

    auth: Auth = Auth.BY_ADDRESS
    """Whether callers need an API key: `required`, or `off`, when all who can reach the API may do
    everything. Empty: they do unless it is reached on loopback only."""

    port: int = Field(default=8000, ge=1, le=65535)
    """Port of the API."""

    allowed_hosts: str = ""
    """Names under which the API is reached, with spaces between: `.example.com` for all below one,
    `*` for any. Empty: any, but none beside `localhost` where it is reached on loopback only, since
    a web page elsewhere may have its own name lead there (DNS rebinding). IP addresses and names
    without a dot are always taken."""

    trusted_proxies: int = Field(default=0, ge=0)
    """Proxies in front of the API, each of which adds to `X-Forwarded-For` and `-Proto`: so many
    are believed. One too many, and callers choose their own address."""

    flower_port: int = Field(default=5555, ge=1, le=65535)
    """Port of Flower, always on loopback in the local stack."""

    flower_password: SecretStr = SecretStr("")
    """Password of Flower's user `rowmill`; empty means no login, which only loopback can bear."""

    api_processes: int = Field(default=2, ge=1)
    """Processes of the API. One that takes in a huge body answers small requests more slowly, since
    they share its interpreter lock."""

    workers: int = Field(default=2, ge=1)
    """Processes of one worker that may score bulk chunks at a time. As many as cores: scoring is
    bound by the processor. One more is kept for small jobs."""

    threads_per_process: int = Field(default=1, ge=1)
    """Threads a worker process gives to BLAS and OpenMP. Processes × threads should equal cores."""

    run_dir: Path = Path(".run")
    """Where the local stack keeps its socket, logs and append-only file."""

    models_dir: Path = Path("models")
    """The model repository."""

    redis_password: SecretStr = SecretStr("")
    """Password for `redis_url`, where that has none: it need not be made fit for a URL, and is
    never shown."""

    redis_password_file: str = ""
    """File that holds the password instead, as secrets are mounted into containers."""

    redis_url: str = Field(default_factory=lambda data: embedded_redis_url(data["run_dir"]))
    """URL of a Redis server, or of the sentinels that know which one is the master. Default: the
    embedded one in `run_dir`."""

    broker_url: SecretStr = SecretStr("")
    """URL of the broker by which workers are woken: `amqp://…` for RabbitMQ, or another Redis
    server. Empty: the Redis server of `redis_url`."""

    payload_url: str = ""
    """Object store that the bytes of new bulk jobs go to, as `s3://bucket/prefix` or `file:///dir`;
    Redis then only holds their state. Credentials and endpoint come from the store's own variables,
    as `AWS_ACCESS_KEY_ID` and `AWS_ENDPOINT_URL`. Empty: all is in Redis."""

    default_model: str = ""
    """Model reference used when a request names none. Empty: the only model, if there is one."""

    max_body_bytes: int = Field(default=1024**3, ge=1)
    """Largest body after decompression. Half the `maxmemory` that the stack gives to Redis."""

    max_json_bytes: int = Field(default=16 * 1024**2, ge=1)
    """Largest body of type `application/json`, which is read as a whole. NDJSON is not."""

    max_record_bytes: int = Field(default=4 * 1024**2, ge=1)
    """Longest record. The API holds one whole record in memory to find where it ends."""

    max_rows: int = Field(default=20_000_000, ge=1)
    """Most rows of one job. A row takes at least 30 bytes of results, however short it is."""

    max_columns: int = Field(default=4096, ge=1)
    """Widest header. Beyond it a file is far more likely to be transposed than meant."""

    max_chunk_bytes: int = Field(default=4 * 1024**2, ge=1)
    """Largest chunk. A worker parses a chunk at once and the API holds two at a time."""

    max_wait_seconds: float = Field(default=60, ge=0)
    """Longest `Prefer: wait`. Each waiting request holds a connection."""

    max_waiting_requests: int = Field(default=500, ge=0)
    """Requests that may wait for a job or follow one at a time, in each process of the API: half
    the connections that it takes."""

    max_silence_seconds: float = Field(default=60, gt=0)
    """How long a client may neither send nor take a byte. A silent one would hold a thread."""

    guard_formulas: bool = False
    """Whether cells of downloaded CSVs that a spreadsheet would take for a formula get an
    apostrophe where the request does not say (`guard_formulas=`). It changes data, so programs have
    to know."""

    retention_seconds: int = Field(default=24 * 3600, ge=1)
    """How long a job is kept after its end unless it says otherwise."""

    max_retention_seconds: int = Field(default=7 * 24 * 3600, ge=1)
    """Upper bound of `expires_in`, and how long a job that nobody works on is kept."""

    tombstone_seconds: int = Field(default=24 * 3600, ge=1)
    """How long an expired or deleted job answers 410 instead of 404."""

    key_requests_per_minute: int = Field(default=0, ge=0)
    """Requests that an API key without a limit of its own may send; 0 for any number."""

    key_rows_per_day: int = Field(default=0, ge=0)
    """Rows that an API key without a limit of its own may have scored; 0 for any number."""

    key_jobs_in_flight: int = Field(default=0, ge=0)
    """Jobs that an API key without a limit of its own may have at a time that have not ended; 0 for
    any number."""

    max_waiting_rows: int = Field(default=100_000_000, ge=1)
    """Rows of all jobs that may wait for their result. Beyond it new jobs are refused."""

    max_chunk_losses: int = Field(default=50, ge=1)
    """Attempts on one chunk that may be lost with their process before its rows are given up. A row
    that kills its process takes about six to find; four times as many lost attempts end the job."""

    chunk_time_limit_seconds: float = Field(default=120, ge=1)
    """Longest run of one chunk before its process is ended. Chunks aim at under a second."""

    dead_after_seconds: float = Field(default=10, ge=2)
    """A worker not heard of for so long counts as dead. It is heard of every second."""

    stop_seconds: float = Field(default=20, ge=1)
    """How long a worker that is stopped may finish its chunks before it gives them back. Less than
    the 30 s after which Docker and the local stack kill it."""

    allow_pickle: bool = False
    """Whether joblib artifacts may be opened. Unpickling runs code from the file."""

    trust_key: SecretStr = SecretStr("")
    """Secret by which `publish` stamps what it writes. A joblib artifact with the stamp is opened
    even where pickles are not allowed. Empty: none is."""

    on_version_mismatch: MismatchPolicy = MismatchPolicy.REFUSE
    """What becomes of a model of another scikit-learn version, which may score wrongly without an
    error: `refuse` it, or `warn` with each job."""

    model_cache_bytes: int = Field(default=4 * 1024**3, ge=1)
    """Bytes of memory for the models that a worker loads when it starts, which its processes share,
    and in each process again for those that come later. The versions that were not used for longest
    are given up."""

    webhook_secret: SecretStr = SecretStr("")
    """Secret by which callbacks are signed: `whsec_` and 24 to 64 random bytes in base64. Several,
    with spaces between, sign side by side while one takes the place of another. Empty: no job may
    have a callback."""

    webhook_allow_private: bool = False
    """Whether callbacks may go to private addresses, and without TLS. Callers could then reach what
    only this network is meant to reach: for tests and laptops."""

    webhook_timeout_seconds: float = Field(default=10, ge=0.1, le=60)
    """Longest attempt to tell a callback, from the first packet to the status of the answer."""

    webhook_retry_seconds: str = Field(
        default="5 300 1800 7200 18000 36000 50400 72000 86400",
        pattern=r"^\s*(\d+(\.\d+)?\s*)*$",
    )
    """Pauses after attempts that failed, each a tenth longer or shorter by chance. The default is
    the schedule of Standard Webhooks, three days in all; attempts end with the job."""

    metrics_token: SecretStr = SecretStr("")
    """Token that `/metrics` asks for, sent as `Authorization: Bearer`. Empty: workers ask for none,
    and the API for none but what its other routes ask for."""

    metrics_host: str = "127.0.0.1"
    """Address on which a worker shows its metrics."""

    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port on which a worker shows its metrics; each on one machine needs another. 0: not at all.
    The API shows its own among its other routes."""

    log_level: str = "INFO"
    """Least severe log level that is written."""

    access_log: bool = False
    """Whether the API logs every request when its answer has been sent. Off: one line per poll
    would bury the events."""

    @field_validator("redis_url")
    @classmethod
    def _with_password(cls, url: str, info: ValidationInfo) -> str:
        RedisAddress.parse(url)
        password = info.data["redis_password"].get_secret_value()
        if file := info.data["redis_password_file"]:
            try:
                # An editor ends the line; all else belongs to the password.
                password = Path(file).read_text().rstrip("\n")
            except OSError as error:
                reason = os.strerror(error.errno or 0)
                raise ValueError(f"can't read ROWMILL_REDIS_PASSWORD_FILE: {reason}") from error
        return RedisUrl(url).with_password(password)

    @field_validator("broker_url")
    @classmethod
    def _check_broker_url(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value():
            Broker.of("", url.get_secret_value())
        return url

    @field_validator("webhook_secret")
    @classmethod
    def _check_secrets(cls, secrets: SecretStr) -> SecretStr:
        for secret in secrets.get_secret_value().split():
            text = secret.removeprefix(SECRET_PREFIX).rstrip("=")
            is_sound = secret.startswith(SECRET_PREFIX) and len(text) % 4 != 1
            key = (
                base64.b64decode(text + "=" * (-len(text) % 4), validate=True) if is_sound else b""
            )
            if not 24 <= len(key) <= 64:
                raise ValueError(f"write {SECRET_PREFIX} and 24 to 64 random bytes in base64")
        return secrets

    @field_validator("payload_url")
    @classmethod
    def _check_payload_url(cls, url: str) -> str:
        return checked_url(url) if url else ""

    @property
    def host_names(self) -> tuple[str, ...]:
        """Names that requests may be for; none if all will do."""
        names = tuple(self.allowed_hosts.lower().split())
        if "*" in names:
            return ()
        return names or (OWN_NAMES if _is_loopback(self.reached_on) else ())

    @property
    def reached_on(self) -> str:
        """The address on which callers reach the API."""
        return self.published_host or self.host

    @property
    def needs_keys(self) -> bool:
        """Whether callers need an API key."""
        if self.auth is Auth.BY_ADDRESS:
            return not _is_loopback(self.reached_on)
        return self.auth is Auth.REQUIRED

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets that callbacks are signed by; none if there are no callbacks."""
        return tuple(self.webhook_secret.get_secret_value().split())

    @property
    def webhook_pauses(self) -> tuple[float, ...]:
        """Seconds between two attempts to tell a callback."""
        return tuple(map(float, self.webhook_retry_seconds.split()))

    @property
    def processes(self) -> int:
        """Pool processes of a worker: one more than may run bulk, kept for small jobs."""
        return self.workers + 1

    @property
    def max_job_losses(self) -> int:
        """Attempts of one job that may be lost before it fails: a model that kills its process on
        every row must not go on doing so for hours."""
        return 4 * self.max_chunk_losses

    @property
    def broker(self) -> Broker:
        """The broker by which workers are woken."""
        return Broker.of(self.redis_url, self.broker_url.get_secret_value())
