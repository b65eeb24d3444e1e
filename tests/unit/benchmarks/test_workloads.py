import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import cache, workloads
from benchmarks.checks import WrongResultError, check
from benchmarks.contenders.in_process import halves_of
from benchmarks.models import MODELS


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "ROOT", tmp_path)


def test_the_same_table_is_made_again_and_begins_every_longer_one() -> None:
    short, long = workloads.table(7), workloads.table(workloads.BLOCK_ROWS + 3)

    pd.testing.assert_frame_equal(short, workloads.table(7))
    pd.testing.assert_frame_equal(short, long.iloc[:7])


def test_no_block_repeats_another() -> None:
    first, second = workloads.blocks(2 * workloads.BLOCK_ROWS)

    assert not np.isin(second[:, 0], first[:, 0]).all()


def test_the_file_holds_the_table_to_the_last_digit() -> None:
    rows = workloads.BLOCK_ROWS + 1

    read = pd.read_csv(workloads.bulk_file(rows))

    pd.testing.assert_frame_equal(read, workloads.table(rows))


def test_a_million_rows_have_about_99_mb() -> None:
    size_bytes = workloads.bulk_file(workloads.BLOCK_ROWS).stat().st_size

    assert size_bytes * (1_000_000 / workloads.BLOCK_ROWS) == pytest.approx(99e6, rel=0.01)


def test_halves_have_all_rows_and_both_the_header() -> None:
    halves = [pd.read_csv(half) for half in halves_of(workloads.bulk_file(11))]

    pd.testing.assert_frame_equal(pd.concat(halves, ignore_index=True), workloads.table(11))
    assert {len(half) for half in halves} <= {5, 6}


def test_small_jobs_follow_one_another_in_the_table() -> None:
    tables = workloads.small_tables(3)

    pd.testing.assert_frame_equal(pd.concat(tables), workloads.table(15))
    assert pd.read_csv(io.BytesIO(workloads.csv_body(tables[1]))).shape == (5, 10)


@pytest.mark.parametrize(("model", "is_right"), [("m1", True), ("m2", False)])
def test_only_a_linear_model_may_differ_in_its_last_bits(model: str, is_right: bool) -> None:
    expected = np.array([[1.0], [2.0]])
    found = np.nextafter(expected, 9)

    if is_right:
        check(MODELS[model], found, expected, whose="x")
    else:
        with pytest.raises(WrongResultError, match="in row 1"):
            check(MODELS[model], found, expected, whose="x")


def test_a_missing_row_is_wrong() -> None:
    with pytest.raises(WrongResultError):
        check(MODELS["m1"], np.ones((1, 1)), np.ones((2, 1)), whose="x")
