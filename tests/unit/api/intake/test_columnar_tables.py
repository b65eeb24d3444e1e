"""Damaged Parquet files and Arrow streams are refused; the types of what is carried are kept."""

import base64
import datetime as dt
import random
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from api.intake.bodies import Body
from api.intake.columnar_intake import ColumnarIntake
from api.intake.csv_intake import Limits
from shared.errors import BodyTooLargeError, InputError
from shared.jobs import InputFormat, JobSpec
from tests.contract.tables import arrow, parquet
from tests.factories import make_spec

LIMITS = Limits(chunk_bytes=2**20, record_bytes=2**20, rows=10**6, body_bytes=2**24)

TABLE = pa.table(
    {
        "x": [0.5 * i for i in range(100)],
        "i": pa.array([None if i % 7 == 0 else i for i in range(100)]),
        "s": [f"text {i % 5}" for i in range(100)],
        "d": pa.array([f"text {i % 5}" for i in range(100)]).dictionary_encode(),
        "t": pa.array(range(100), pa.timestamp("us", "Europe/Berlin")),
    }
)
VIEWS = TABLE.append_column("v", TABLE["s"].cast(pa.string_view())).append_column(
    "r", pc.run_end_encode(TABLE["i"].combine_chunks())
)


def make_intake(body: bytes, input_format: str) -> ColumnarIntake:
    blocks = (body[at : at + 999] for at in range(0, len(body), 999))
    received = Body(blocks, InputFormat(input_format))
    return ColumnarIntake(received, limits=LIMITS, features=["x"], announced_bytes=0)


def taken(body: bytes, input_format: str) -> tuple[JobSpec, bytes]:
    """What the spec of a job becomes that carries all columns, and its rows."""
    intake = make_intake(body, input_format)
    header = intake.header(max_columns=100)
    spec = intake.fitted(make_spec(header=header, carried=tuple(dict.fromkeys(header))))
    return spec, b"".join(data for _, data in intake.chunks(lambda: 1000))


SOUND = [
    ("parquet", parquet(TABLE)),
    ("parquet", parquet(TABLE, compression="none", use_dictionary=False, write_page_index=True)),
    ("parquet", parquet(TABLE, compression="zstd", data_page_version="2.0", row_group_size=30)),
    ("arrow", arrow(VIEWS)),
    ("arrow", arrow(VIEWS, compression="zstd")),
    ("arrow", arrow(VIEWS, compression="lz4")),
]


def damaged(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Bodies with a few wrong bytes, most of them where the metadata are."""
    chance = random.Random(seed)
    for _ in range(count):
        input_format, body = chance.choice(SOUND)
        wrong = bytearray(body)
        for _ in range(chance.choice([1, 1, 2, 5])):
            near = chance.randrange(min(2500, len(wrong)))
            at = chance.choice(
                [chance.randrange(len(wrong)), near if input_format == "arrow" else -near]
            )
            wrong[at] = chance.choice([0, 127, 128, 255, wrong[at] ^ (1 << chance.randrange(8))])
        yield input_format, bytes(wrong)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_body_is_refused_or_read(seed: int) -> None:
    outcomes = set()
    for input_format, body in damaged(seed, 200):
        try:
            taken(body, input_format)
        except InputError as error:
            outcomes.add(error.code)
        except KeyError:  # a column is there twice, which is refused before its rows are asked for
            names = make_intake(body, input_format).header(max_columns=100)
            assert len(set(names)) < len(names)

    assert "damaged_file" in outcomes


@pytest.mark.parametrize(("input_format", "body"), SOUND)
def test_the_types_of_carried_columns_are_kept(input_format: str, body: bytes) -> None:
    spec, _ = taken(body, input_format)

    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(spec.carried_types)))
    expected = TABLE if input_format == "parquet" else VIEWS
    assert dict(zip(schema.names, schema.types, strict=True)) == dict(
        zip(expected.schema.names, expected.schema.types, strict=True)
    )


def test_texts_give_back_the_values_they_stand_for() -> None:
    column = pa.array([dt.timedelta(microseconds=5), None])
    zone = pa.timestamp("ns", "Europe/Berlin")
    table = pa.table({"d": column, "t": pa.array([1704164400000000001, 1], zone)})

    _, rows = taken(parquet(table), "parquet")

    durations, times = zip(*(line.split(",") for line in rows.decode().splitlines()), strict=True)
    assert durations == ("5", "")
    assert pa.array(times).cast(zone) == table["t"].combine_chunks()


def test_a_view_that_is_repeated_is_written_a_slice_at_a_time() -> None:
    _, view, text = pa.array(["a" * 500_000]).cast(pa.string_view()).buffers()
    views = pa.py_buffer(view.to_pybytes()[:16] * 6000)
    column = pa.Array.from_buffers(pa.string_view(), 6000, [None, views, text])
    body = arrow([pa.RecordBatch.from_arrays([column], names=["c"])])
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)

    try:
        with pytest.raises(BodyTooLargeError):
            taken(body, "arrow")
    finally:
        pa.set_memory_pool(before)

    assert 0 < pool.max_memory() < 2**24


def test_what_a_compressed_message_claims_to_become_is_bounded() -> None:
    body = arrow(pa.table({"z": pa.array([0.0] * 4_000_000)}), compression="zstd")
    assert len(body) < 100_000

    with pytest.raises(BodyTooLargeError):
        taken(body, "arrow")
