"""Whatever a body is wrapped in, its CSV bytes come out whole and in bounded memory."""

import gzip
import io
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import Headers
from werkzeug.exceptions import ClientDisconnected

from api.intake import bodies
from api.intake.bodies import table_body
from shared.errors import (
    BodyTooLargeError,
    GzipError,
    InputError,
    MultipartError,
    UnsupportedMediaTypeError,
    UploadIncompleteError,
)

CSV = b"x\n1\n2\n3\n"


class Trickle(io.BytesIO):
    """A body that arrives a few bytes at a time, as from a slow network."""

    def __init__(self, body: bytes, step: int) -> None:
        super().__init__(body)
        self.step = step

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self.step if size is None else min(size, self.step))


class Broken(io.BytesIO):
    """A body whose sender goes away in the middle."""

    def __init__(self, error: Exception) -> None:
        super().__init__(CSV)
        self.error = error

    def read(self, _size: int | None = -1, /) -> bytes:
        if block := super().read(4):
            return block
        raise self.error


def taken(
    body: bytes | io.BytesIO, *, step: int = 10**6, limit: int = 10**6, **headers: str
) -> bytes:
    """The CSV text in a body."""
    stream = Trickle(body, step) if isinstance(body, bytes) else body
    named = {"Content_Type": "text/csv"} | headers
    sent = Headers((name.replace("_", "-"), value) for name, value in named.items())
    return b"".join(table_body(stream, sent, limit_bytes=limit))


def gunzipped(body: bytes, *, step: int = 10**6, limit: int = 10**6) -> bytes:
    return taken(body, step=step, limit=limit, Content_Encoding="gzip")


def form_part(content: bytes = CSV, *, name: str = "file", filename: str | None = "x.csv") -> bytes:
    file = f'; filename="{filename}"' if filename else ""
    head = f'--b0undary\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts or [form_part()]) + b"--b0undary--\r\n"


def from_form(body: bytes, *, step: int = 10**6, limit: int = 10**6) -> bytes:
    media_type = "multipart/form-data; boundary=b0undary"
    return taken(body, step=step, limit=limit, Content_Type=media_type)


# --- plain


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_plain_body_comes_out_as_it_is(step: int) -> None:
    assert taken(CSV, step=step, Content_Length=str(len(CSV))) == CSV


@pytest.mark.parametrize(
    "media_type", ["text/csv", "application/csv", "Text/CSV; charset=utf-8; header=present"]
)
def test_csv_is_known_by_its_usual_names(media_type: str) -> None:
    assert taken(CSV, Content_Type=media_type) == CSV


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": ""},
        {"Content_Type": "application/xml"},
        {"Content_Type": "text/csvx"},
        {"Content_Encoding": "br"},
        {"Content_Encoding": "gzip, gzip"},
    ],
)
def test_other_types_are_refused_before_anything_is_read(headers: dict[str, str]) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        taken(Broken(AssertionError("was read")), **headers)


def test_a_body_is_refused_by_the_length_it_announces() -> None:
    with pytest.raises(BodyTooLargeError):
        taken(Broken(AssertionError("was read")), limit=8, Content_Length="9")


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_a_body_that_announces_no_length_is_stopped_at_the_limit(step: int) -> None:
    assert taken(CSV, step=step, limit=len(CSV)) == CSV

    with pytest.raises(BodyTooLargeError):
        taken(CSV, step=step, limit=len(CSV) - 1)


def test_fewer_bytes_than_announced_are_an_upload_broken_off() -> None:
    with pytest.raises(UploadIncompleteError):
        taken(CSV, Content_Length=str(len(CSV) + 1))


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), ClientDisconnected()])
def test_a_sender_that_goes_away_is_an_upload_broken_off(error: Exception) -> None:
    with pytest.raises(UploadIncompleteError):
        taken(Broken(error))


# --- gzip


@settings(max_examples=50)
@given(members=st.lists(st.binary(max_size=40), min_size=1, max_size=4), step=st.integers(1, 30))
def test_members_one_after_the_other_are_one_stream(members: list[bytes], step: int) -> None:
    body = b"".join(map(gzip.compress, members))

    assert gunzipped(body, step=step) == b"".join(members)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_gzip_cut_off_anywhere_is_refused(step: int) -> None:
    body = gzip.compress(CSV) + gzip.compress(CSV)
    whole_members = (0, len(body) // 2)

    for end in set(range(len(body))) - set(whole_members):
        with pytest.raises(GzipError, match="ends before its end"):
            gunzipped(body[:end], step=step)


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("garbage", [b"\0", b"garbage behind the end", CSV])
def test_garbage_behind_the_end_is_refused(garbage: bytes, step: int) -> None:
    with pytest.raises(GzipError):
        gunzipped(gzip.compress(CSV) + garbage, step=step)


@pytest.mark.parametrize("position", [-1, -5])
def test_gzip_that_lies_about_its_length_or_checksum_is_refused(position: int) -> None:
    body = bytearray(gzip.compress(CSV))
    body[position] ^= 1

    with pytest.raises(GzipError, match="checksum or length"):
        gunzipped(bytes(body))


@pytest.mark.parametrize("body", [CSV, zlib.compress(CSV)])
def test_what_is_no_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(GzipError):
        gunzipped(body)


def test_the_limit_is_of_what_is_unpacked() -> None:
    body = gzip.compress(b"0" * 10_000)

    with pytest.raises(BodyTooLargeError):
        gunzipped(body, limit=9_999)


def test_a_bomb_is_stopped_before_it_grows() -> None:
    bomb = gzip.compress(bytes(64 * 1024**2), compresslevel=9)
    tracemalloc.start()

    with pytest.raises(BodyTooLargeError):
        for _ in table_body(
            io.BytesIO(bomb),
            Headers({"Content-Type": "text/csv", "Content-Encoding": "gzip"}),
            limit_bytes=32 * 1024**2,
        ):
            pass

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * bodies.BLOCK_BYTES


# --- multipart


PIECES = st.lists(
    st.sampled_from([b"x", b"\r\n", b"\n", b"\r", b"--", b"--b0undar", b"b0undary", b"\r\n--b0"])
)
CONTENTS = PIECES.map(b"".join).filter(lambda content: b"--b0undary" not in content)


@settings(max_examples=100)
@given(content=CONTENTS, step=st.integers(1, 40))
def test_the_file_part_comes_out_whole_wherever_blocks_end(content: bytes, step: int) -> None:
    assert from_form(form(form_part(content)), step=step) == content


def test_a_line_longer_than_all_buffers_comes_out_whole() -> None:
    content = b"x\n" + b"1" * 6 * bodies.BLOCK_BYTES + b"\n"

    assert from_form(form(form_part(content)), limit=10**8) == content


@pytest.mark.parametrize(
    "body",
    [
        form(form_part(filename=None, name="model"), form_part()),
        form(form_part(name="data")),
        form(form_part(), form_part()),
        form(b"--b0undary\r\nContent-Type: text/csv\r\n\r\n1\r\n"),
        form(b"--b0undary\r\nContent-Disposition: form-data\r\n\r\n1\r\n"),
        form(b"--b0undary\r\nContent-Disposition: \xff\r\n\r\n1\r\n"),
        form(b"--b0undary\r\nContent-Disposition: " + bytes(2 * 1024**2) + b"\r\n\r\n1\r\n"),
        b"--b0undary--\r\n",
        CSV,
        b"",
    ],
)
@pytest.mark.parametrize("step", [7, 10**6])
def test_a_form_of_another_shape_is_refused(body: bytes, step: int) -> None:
    with pytest.raises(MultipartError):
        from_form(body, step=max(step, len(body) // 100), limit=10**8)


def test_a_form_without_a_boundary_is_refused() -> None:
    with pytest.raises(MultipartError, match="boundary"):
        taken(form(), Content_Type="multipart/form-data")


def test_a_form_cut_off_anywhere_is_refused() -> None:
    body = form()

    for end in range(len(body) - len("--\r\n")):
        with pytest.raises(InputError):
            from_form(body[:end], step=5)


def test_a_form_may_be_gzipped_as_a_whole() -> None:
    media_type = "multipart/form-data; boundary=b0undary"

    found = taken(gzip.compress(form()), Content_Type=media_type, Content_Encoding="gzip")

    assert found == CSV
