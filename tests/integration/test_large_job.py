"""A million rows: right, in order, and in bounded memory."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.csv
import pytest
import requests
from redis import Redis
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.live_stack import Api, live_stack
from worker.publishing import publish

ROWS = 1_000_000
COLUMNS = [f"x{i}" for i in range(10)]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    values = np.random.default_rng(0).normal(size=(ROWS, len(COLUMNS))).round(8)
    return pd.DataFrame(values, columns=COLUMNS)


@pytest.fixture(scope="module")
def body(table: pd.DataFrame) -> bytes:
    text = io.BytesIO()
    pyarrow.csv.write_csv(pa.Table.from_pandas(table, preserve_index=False), text)
    return text.getvalue()


MODELS = {
    "linear": make_pipeline(StandardScaler(), LinearRegression()),
    "forest": RandomForestRegressor(n_estimators=5, max_depth=8, random_state=0),
}


@pytest.fixture(scope="module")
def large(run_directory: Path, table: pd.DataFrame) -> Iterator[Api]:
    """A stack of its own, whose memory nobody else uses."""
    repository = run_directory / "large-models"
    sample = table[:5_000]
    for name, estimator in MODELS.items():
        estimator.fit(sample, sample.to_numpy() @ np.arange(10) + 1)
        publish(estimator, name=name, sample=sample, repository=repository)
    with live_stack(run_directory / "large", repository) as api:
        yield api


def peak_bytes(api: Api) -> int:
    """Peak memory of the API's processes, the sum over all of them."""
    main = psutil.Process(api.pid)
    peaks = []
    for process in [main, *main.children()]:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peaks.append(int(status.split("VmHWM:")[1].split()[0]) * 1024)
    return sum(peaks)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("name", "tolerance"), [("forest", 0.0), ("linear", 1e-9)])
def test_a_million_rows_go_through_in_order_and_in_bounded_memory(
    large: Api, run_directory: Path, table: pd.DataFrame, body: bytes, name: str, tolerance: float
) -> None:
    redis = Redis(unix_socket_path=str(run_directory / "large/r/s"))
    redis.config_resetstat()
    idle_bytes = peak_bytes(large)

    job = large.ended(large.submit(body, model=name, wait=0).json(), timeout=150)
    answer = requests.get(large.url + job["urls"]["results"], timeout=60)

    scored = pd.read_csv(io.BytesIO(answer.content))
    assert np.array_equal(scored["row"], np.arange(1, ROWS + 1))
    expected = MODELS[name].predict(table)
    assert scored["prediction"].to_numpy() == pytest.approx(expected, rel=tolerance, abs=0)
    assert peak_bytes(large) - idle_bytes < 60 * 1024**2
    assert redis.info("memory")["used_memory_peak"] < 2 * len(body)
    requests.delete(large.url + job["urls"]["self"], timeout=10)
    redis.close()


def test_a_worker_opens_a_model_once_for_all_its_processes(
    large: Api,
    run_directory: Path,
) -> None:
    log = (run_directory / "large/worker.log").read_text()

    assert log.count('"model loaded"') == len(MODELS)
