"""Every setting of every process: read once from `ROWMILL_…` variables, passed as an argument."""

import base64
import os
from enum import StrEnum
from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.broker import Broker
from shared.redis_address import RedisAddress
from shared.redis_url import RedisUrl

SOCKET_NAME = "redis.sock"

SECRET_PREFIX = "whsec_"  # noqa: S105 – what Standard Webhooks begins every secret with


class MismatchPolicy(StrEnum):
    """What becomes of a model that was trained under another version of scikit-learn."""

    REFUSE = "refuse"
    WARN = "warn"


def embedded_redis_url(run_dir: Path) -> str:
    """URL of the embedded server's socket: private to its folder, so no other server is met."""
    return f"unix://{run_dir.absolute() / SOCKET_NAME}"


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
    """Address the API listens on. Loopback by default: there are no API keys yet."""

    port: int = Field(default=8000, ge=1, le=65535)
    """Port of the API."""

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

    retention_seconds: int = Field(default=24 * 3600, ge=1)
    """How long a job is kept after its end unless it says otherwise."""

    max_retention_seconds: int = Field(default=7 * 24 * 3600, ge=1)
    """Upper bound of `expires_in`, and how long a job that nobody works on is kept."""

    tombstone_seconds: int = Field(default=24 * 3600, ge=1)
    """How long an expired or deleted job answers 410 instead of 404."""

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

    log_level: str = "INFO"
    """Least severe log level that is written."""

    @field_validator("redis_url")
    @classmethod
    def _with_password(cls, url: str, info: ValidationInfo) -> str:
        RedisAddress.parse(url)
        password = info.data["redis_password"].get_secret_value()
        if file := info.data["redis_password_file"]:
            try:
                password = Path(file).read_text().strip()
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
