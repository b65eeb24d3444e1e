"""Bad input gets a clear answer, and no good row is lost with it."""

import gzip
import io
import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pytest
import requests

from shared.model_repository import ModelRepository
from tests.contract.answers import (
    accepted,
    assert_problem,
    newest_job,
    results,
    row_errors,
    shown,
)
from tests.live_stack import Api
from tests.waiting import wait_until
from worker.artifact_loader import load_artifact

MEBIBYTE = 1024**2
WIDE_ROW = b"6," + b"a" * 1021 + b"\n"
"""A row of 1 KiB for model `line` under the header `x,t`."""

GZIP = {"Content-Encoding": "gzip"}
PACKED = gzip.compress(b"x\n6\n7\n")
UNKNOWN_JOB = "job_" + "0" * 32


def form(*parts: tuple[str, bytes], end: bytes = b"--B--\r\n") -> bytes:
    """A multipart body of (name and filename, content) pairs."""
    heads = (f"--B\r\nContent-Disposition: form-data; {name}\r\n\r\n".encode() for name, _ in parts)
    return (
        b"".join(head + text + b"\r\n" for head, (_, text) in zip(heads, parts, strict=True)) + end
    )


FORM = {"Content-Type": "multipart/form-data; boundary=B"}
FILE = 'name="file"; filename="data.csv"'


# --- bodies that are refused before there is a job


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        pytest.param(b"", 422, "empty_input", ["empty", "send"], id="empty"),
        pytest.param(b"\r\n \n\t\n", 422, "empty_input", ["empty"], id="blank lines"),
        pytest.param(b"\xef\xbb\xbf", 422, "empty_input", ["empty"], id="BOM only"),
        pytest.param(b"x\n", 422, "empty_input", ["no data row"], id="header only"),
        pytest.param(b"x\n \n\n", 422, "empty_input", ["no data row"], id="no row but blank ones"),
        pytest.param(
            "x\n6\n".encode("utf-16"), 422, "invalid_encoding", ["UTF-16", "save"], id="UTF-16"
        ),
        pytest.param(
            "x\n6\n".encode("utf-16-be"), 422, "invalid_encoding", ["NUL"], id="UTF-16, no BOM"
        ),
        pytest.param(
            "x,größe\n6,1\n".encode("latin-1"), 422, "invalid_encoding", ["UTF-8"], id="Latin-1"
        ),
        pytest.param(b"x,\0\n6,1\n", 422, "invalid_encoding", ["NUL", "header"], id="NUL"),
        pytest.param(
            b'x,t\n6,a\n7,"b\n8,c\n', 422, "unclosed_quote", ["line 3", "close it"], id="quote"
        ),
        pytest.param(
            b'x,"t\n6,a\n7,b\n', 422, "unclosed_quote", ["line 1"], id="quote in the header"
        ),
        pytest.param(
            b"x," + b"t" * 5 * MEBIBYTE + b"\n6,a\n",
            422,
            "record_too_large",
            ["line 1", "quote", "shorten"],
            id="long header",
        ),
        pytest.param(
            ",".join(f"c{i}" for i in range(10_000)).encode() + b"\n1\n",
            422,
            "too_many_columns",
            ["10000", "4096", "only the columns"],
            id="10,000 columns",
        ),
        pytest.param(PACKED, 422, "invalid_encoding", ["NUL"], id="gzip without saying so"),
    ],
)
def test_a_body_that_is_no_csv_is_refused_and_makes_no_job(
    api: Api, body: bytes, status: int, code: str, words: list[str]
) -> None:
    before = newest_job(api)

    answer = api.submit(body, model="line")

    assert_problem(answer, status, code, *words)
    assert newest_job(api) == before


# --- headers


@pytest.mark.parametrize(
    ("header", "query", "problems"),
    [
        ("a,b", {"model": "forest"}, [("missing_column", "c")]),
        ("z", {"model": "linear"}, [("missing_column", "a"), ("missing_column", "b")]),
        ("a,b,a", {"model": "linear"}, [("duplicate_column", "a")]),
        ("a,b,z,z", {"model": "linear", "join": "input"}, [("duplicate_column", "z")]),
        ("a,b", {"model": "linear", "key": "id"}, [("missing_column", "id")]),
        ("a,b,z", {"model": "linear", "strict": "true"}, [("unknown_column", "z")]),
        (
            "a,a,z",
            {"model": "forest", "strict": "true", "key": "id"},
            [
                ("missing_column", "b"),
                ("missing_column", "c"),
                ("missing_column", "id"),
                ("duplicate_column", "a"),
                ("unknown_column", "z"),
            ],
        ),
    ],
)
def test_all_problems_of_a_header_are_listed_at_once(
    api: Api, header: str, query: dict[str, str], problems: list[tuple[str, str]]
) -> None:
    answer = api.submit(f"{header}\n1,2,3\n", **query)

    names = [f"'{name}'" for _, name in problems]
    document = assert_problem(
        answer, 422, "header_mismatch", "header", *names, extra=frozenset({"errors"})
    )
    assert [(e["code"], e["column"]) for e in document["errors"]] == problems
    assert all((e["row"], e["line"]) == (None, 1) and e["detail"] for e in document["errors"])


@pytest.mark.parametrize(
    ("cut_at", "query", "hint"),
    [
        (";", {}, "?delimiter=%3B"),
        ("\t", {}, "?delimiter=%09"),
        ("|", {}, "?delimiter=%7C"),
        (",", {"delimiter": ";"}, "?delimiter=%2C"),
    ],
)
def test_a_wrong_delimiter_is_guessed(
    api: Api, cut_at: str, query: dict[str, str], hint: str
) -> None:
    answer = api.submit(f"a{cut_at}b\n1{cut_at}2\n", model="linear", **query)

    assert_problem(answer, 422, "header_mismatch", hint, extra=frozenset({"errors"}))


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_the_caller_names_is_used(api: Api, delimiter: str) -> None:
    job = accepted(
        api.submit("y;x\n1;6\n".replace(";", delimiter), model="line", delimiter=delimiter)
    )

    assert results(api, job) == [{"row": "1", "prediction": "15", "error": ""}]


# --- content types and encodings


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Content-Type": "application/json"}, ["Content-Type", "application/json", "text/csv"]),
        ({"Content-Type": ""}, ["Content-Type", "send text/csv"]),
        ({"Content-Type": "nonsense"}, ["nonsense", "multipart/form-data"]),
        ({"Content-Encoding": "br"}, ["Content-Encoding", "br", "send gzip"]),
    ],
)
def test_unknown_types_and_encodings_are_refused_with_the_known_ones(
    api: Api, headers: dict[str, str], words: list[str]
) -> None:
    answer = api.submit("x\n6\n", model="line", headers=headers)

    assert_problem(answer, 415, "unsupported_media_type", *words)


@pytest.mark.parametrize("media_type", ["text/csv; charset=utf-8", "TEXT/CSV", "application/csv"])
def test_csv_may_be_spelled_in_several_ways(api: Api, media_type: str) -> None:
    job = accepted(api.submit("x\n6\n", model="line", headers={"Content-Type": media_type}))

    assert job["status"] == "succeeded"


# --- gzip


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(PACKED, id="one member"),
        pytest.param(gzip.compress(b"x\n6\n") + gzip.compress(b"7\n"), id="two members"),
    ],
)
def test_gzip_is_unpacked(api: Api, body: bytes) -> None:
    job = accepted(api.submit(body, model="line", headers=GZIP))

    assert [line["prediction"] for line in results(api, job)] == ["15", "17"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        pytest.param(PACKED[:-4] + b"\x63\0\0\0", "length", id="lies about its length"),
        pytest.param(PACKED[:-8] + b"\x63\0\0\0" + PACKED[-4:], "checksum", id="wrong checksum"),
        pytest.param(PACKED[:-12], "ends before its end", id="truncated data"),
        pytest.param(PACKED[:-3], "ends before its end", id="truncated trailer"),
        pytest.param(PACKED + b"more", "data", id="trailing rubbish"),
        pytest.param(b"x\n6\n", "data", id="no gzip at all"),
    ],
)
def test_unsound_gzip_is_refused(api: Api, body: bytes, word: str) -> None:
    answer = api.submit(body, model="line", headers=GZIP)

    assert_problem(answer, 400, "invalid_gzip", "gzip", word, "Compress the file again")


# --- multipart


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(form((FILE, b"x\n6\n")), FORM, id="plain"),
        pytest.param(form(('name="file"', b"x\n6\n")), FORM, id="no filename"),
        pytest.param(b"preamble\r\n" + form((FILE, b"x\n6\n")) + b"epilogue", FORM, id="framed"),
        pytest.param(gzip.compress(form((FILE, b"x\n6\n"))), FORM | GZIP, id="gzip"),
    ],
)
def test_a_form_with_a_file_is_taken(api: Api, body: bytes, headers: dict[str, str]) -> None:
    job = accepted(api.submit(body, model="line", headers=headers))

    assert results(api, job) == [{"row": "1", "prediction": "15", "error": ""}]
    assert job["input"]["bytes"] == 4


def test_a_large_form_is_taken_whole(api: Api) -> None:
    text = b"x,t\n" + WIDE_ROW * 3000

    answer = requests.post(
        f"{api.url}/jobs?model=line",
        files={"file": ("data.csv", io.BytesIO(text))},
        headers={"Prefer": "wait=20"},
        timeout=60,
    )

    job = accepted(answer)
    assert job["counts"] == {"total": 3000, "succeeded": 3000, "failed": 0, "pending": 0}
    assert job["input"]["bytes"] == len(text)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        pytest.param(form(), "invalid_multipart", ["no part", "curl -F"], id="no part"),
        pytest.param(
            form(('name="data"; filename="x.csv"', b"x\n6\n")),
            "invalid_multipart",
            ["'data'", "'file'"],
            id="other name",
        ),
        pytest.param(
            form(('name="model"', b"line"), (FILE, b"x\n6\n")),
            "invalid_multipart",
            ["'model'", "query string"],
            id="field before the file",
        ),
        pytest.param(
            form((FILE, b"x\n6\n"), ('name="model"', b"line")),
            "invalid_multipart",
            ["'model'", "query string"],
            id="field after the file",
        ),
        pytest.param(
            form((FILE, b"x\n6\n"), (FILE, b"x\n7\n")),
            "invalid_multipart",
            ["more than one"],
            id="two files",
        ),
        pytest.param(form(("", b"x\n6\n")), "invalid_multipart", ["not known"], id="no name"),
        pytest.param(b"--C\r\n", "invalid_multipart", ["boundary"], id="another boundary"),
        pytest.param(
            form((FILE, b"x\n6\n"), end=b""), "upload_incomplete", ["send the file again"], id="cut"
        ),
    ],
)
def test_a_form_that_is_not_one_file_is_refused(
    api: Api, body: bytes, code: str, words: list[str]
) -> None:
    assert_problem(api.submit(body, model="line", headers=FORM), 400, code, *words)


def test_a_form_must_name_its_boundary(api: Api) -> None:
    answer = api.submit(form(), model="line", headers={"Content-Type": "multipart/form-data"})

    assert_problem(answer, 400, "invalid_multipart", "boundary")


# --- bodies that turn out to be unfit half-way


def in_pieces(*pieces: bytes) -> Iterator[bytes]:
    """A body that is sent without a Content-Length."""
    yield from pieces


def test_a_body_over_the_limit_is_refused_unread_if_it_says_so(api: Api) -> None:
    before = newest_job(api)

    answer = api.submit(bytes(64 * MEBIBYTE + 1), model="line")

    assert_problem(answer, 413, "body_too_large", str(64 * MEBIBYTE), "split it")
    assert newest_job(api) == before


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        pytest.param([WIDE_ROW * 1024] * 65, {}, 413, "body_too_large", id="over the limit"),
        pytest.param(
            [gzip.compress(b"x,t\n" + WIDE_ROW * 65 * 1024, 1)],
            GZIP,
            413,
            "body_too_large",
            id="gzip bomb",
        ),
        pytest.param(
            [WIDE_ROW * 6000, b"7," + b"a" * 5 * MEBIBYTE, b"\n"],
            {},
            422,
            "record_too_large",
            id="record over the limit",
        ),
        pytest.param([WIDE_ROW * 6000, b'7,"b\n8,c'], {}, 422, "unclosed_quote", id="quote"),
        pytest.param(
            [gzip.compress(b"x,t\n" + WIDE_ROW * 6000, 0)[:-9]],
            GZIP,
            400,
            "invalid_gzip",
            id="gzip",
        ),
    ],
)
def test_a_body_that_turns_out_unfit_ends_its_job_as_failed(
    api: Api, body: list[bytes], headers: dict[str, str], status: int, code: str
) -> None:
    pieces = in_pieces(*([] if headers else [b"x,t\n"]), *body)

    answer = api.submit(pieces, model="line", headers=headers)  # type: ignore[arg-type]

    problem = assert_problem(answer, status, code)
    job = newest_job(api)
    assert job is not None
    assert (job["status"], job["error"]["code"]) == ("failed", "input_refused")
    assert job["error"]["detail"] == problem["detail"]


# --- uploads that break off


def connected(api: Api) -> socket.socket:
    url = urlsplit(api.url)
    return socket.create_connection((str(url.hostname), int(url.port or 0)), timeout=20)


def head(*headers: str) -> bytes:
    lines = ["POST /jobs?model=line HTTP/1.1", "Host: test", "Content-Type: text/csv", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


LONG = b"x,t\n" + WIDE_ROW * 6000
BROKEN_UPLOADS = [
    pytest.param(head("Content-Length: 60000000") + LONG, id="Content-Length"),
    pytest.param(
        head("Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(LONG), LONG), id="chunked"
    ),
    pytest.param(
        head("Transfer-Encoding: chunked") + b"%x\r\n%b" % (len(LONG) + 99, LONG), id="in a chunk"
    ),
]


@pytest.mark.parametrize("request_bytes", BROKEN_UPLOADS)
def test_an_upload_that_breaks_off_is_answered_and_its_job_failed(
    api: Api, request_bytes: bytes
) -> None:
    with connected(api) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        answer = HTTPResponse(connection)
        answer.begin()
        problem = json.loads(answer.read())

    job = newest_job(api)
    assert job is not None
    assert (answer.status, problem["code"]) == (400, "upload_incomplete")
    assert (job["status"], job["error"]["code"]) == ("failed", "upload_incomplete")


@pytest.mark.parametrize("request_bytes", BROKEN_UPLOADS)
def test_the_job_of_a_caller_who_went_away_is_failed(api: Api, request_bytes: bytes) -> None:
    before = newest_job(api)
    with connected(api) as connection:
        connection.sendall(request_bytes)

    job = wait_until(lambda: (job := newest_job(api)) != before and job)

    ended = shown(api, job, Prefer="wait=20")
    assert (ended["status"], ended["error"]["code"]) == ("failed", "upload_incomplete")


def test_an_upload_that_breaks_off_before_the_first_chunk_makes_no_job(api: Api) -> None:
    before = newest_job(api)

    with connected(api) as connection:
        connection.sendall(head("Content-Length: 1000") + b"x\n6\n")
        connection.shutdown(socket.SHUT_WR)
        answer = HTTPResponse(connection)
        answer.begin()

    assert answer.status == 400
    assert newest_job(api) == before


# --- unusual input that is good


@pytest.mark.parametrize(
    ("body", "predictions"),
    [
        pytest.param(b"\xef\xbb\xbfx\n6\n", ["15"], id="BOM"),
        pytest.param(b'\xef\xbb\xbf"x"\n6\n', ["15"], id="BOM before a quote"),
        pytest.param(b"x\r\n6\r\n7\r\n", ["15", "17"], id="CRLF"),
        pytest.param(b"x\r6\r7\r", ["15", "17"], id="lone CR"),
        pytest.param(b"x\n6\n7", ["15", "17"], id="no line end"),
        pytest.param(b"\n\nx\n\n6\n \n7\n\n", ["15", "17"], id="blank lines"),
        pytest.param(b't,x\n"a\nb",6\n"c,""\r\n",7\n', ["15", "17"], id="newline in quotes"),
        pytest.param(b'x\n"6"\n 7 \n', ["15", "17"], id="quotes and blanks around numbers"),
        pytest.param(b"x\n6.0\n+7\n8e0\n", ["15", "17", "19"], id="ways to write a number"),
        pytest.param(b"t,x,t\na,6,b\n", ["15"], id="extra columns"),
        pytest.param(b"t,x\n" + b"a" * 10**6 + b",6\nb,7\n", ["15", "17"], id="1 MB cell"),
        pytest.param("ä,x\nö\u2028ü,6\n".encode(), ["15"], id="UTF-8"),
    ],
)
def test_unusual_but_sound_input_is_scored(api: Api, body: bytes, predictions: list[str]) -> None:
    job = accepted(api.submit(body, model="line"))

    assert job["status"] == "succeeded"
    assert [line["prediction"] for line in results(api, job)] == predictions


@pytest.mark.parametrize("name", ["forest", "boosted"])
def test_missing_values_are_given_to_a_model_that_takes_them(
    api: Api, models_dir: Path, name: str
) -> None:
    text = "a,b,c\n1,2,3\n1,NaN,\n,,\nNA,null,1\n"

    job = accepted(api.submit(text, model=name))

    repository = ModelRepository(models_dir)
    manifest = repository.resolve(name)
    estimator = load_artifact(repository.artifact_path(manifest), manifest, allow_pickle=False)
    expected = estimator.predict(pd.read_csv(io.StringIO(text))).tolist()
    assert [json.loads(line["prediction"]) for line in results(api, job)] == expected


# --- rows that are bad


Faults = list[tuple[int, int, str | None, str]]


@pytest.mark.parametrize(
    ("model", "body", "faults"),
    [
        pytest.param(
            "linear",
            b"a,b\n1,2\n1\n1,2,3\n3,4\n",
            [(2, 3, None, "wrong_field_count"), (3, 4, None, "wrong_field_count")],
            id="ragged",
        ),
        pytest.param(
            "linear",
            b"a,b\n1,2\n1,abc\nx y,z\n3,1_000\n",
            [
                (2, 3, "b", "not_a_number"),
                (3, 4, "a", "not_a_number"),
                (4, 5, "b", "not_a_number"),
            ],
            id="text for a number",
        ),
        pytest.param(
            "line",
            b"x\ntrue\nFalse\n",
            [(1, 2, "x", "not_a_number"), (2, 3, "x", "not_a_number")],
            id="only booleans for numbers",
        ),
        pytest.param(
            "line",
            "x\n6\n٣\n１\n".encode(),
            [(2, 3, "x", "not_a_number"), (3, 4, "x", "not_a_number")],
            id="digits of other scripts",
        ),
        pytest.param(
            "churn",
            b"age,city,member\n20,Bonn,true\n30,7,FALSE\n40,Ulm,maybe\n",
            [(2, 3, "city", "unknown_category"), (3, 4, "member", "not_a_boolean")],
            id="number for a category",
        ),
        pytest.param(
            "churn",
            b"age,city,member\n20,\xffBonn,maybe\n30\n",
            [(1, 2, "city", "invalid_utf8"), (2, 3, None, "wrong_field_count")],
            id="no readable row",
        ),
        pytest.param(
            "linear",
            b"a,b\n1,2\nNaN,2\n1,\nNA,null\n",
            [
                (2, 3, "a", "missing_value"),
                (3, 4, "b", "missing_value"),
                (4, 5, "a", "missing_value"),
            ],
            id="missing",
        ),
        pytest.param(
            "linear",
            b"a,b\n1,2\ninf,-Infinity\n1e999,2\n3,4\n",
            [
                (2, 3, "a", "not_finite"),
                (3, 4, "a", "not_finite"),
            ],
            id="infinite",
        ),
        pytest.param(
            "boosted",
            b"a,b,c\n1,2,3\n1,2,inf\n",
            [(2, 3, "c", "not_finite")],
            id="infinite, NaN ok",
        ),
        pytest.param(
            "churn",
            "age,city,member\n20,Köln,true\n30,Bonn,true\n".encode("latin-1"),
            [(1, 2, "city", "invalid_utf8")],
            id="Latin-1",
        ),
        pytest.param("line", b"x\n6\n7\0\n8\n", [(2, 3, "x", "nul_byte")], id="NUL byte"),
        pytest.param(
            "line",
            b't,x\r\n"a\r\nb",6\r\n"c\nd",bad\r\n\r\ne,7\r\nf,bad\r\n',
            [(2, 4, "x", "not_a_number"), (4, 8, "x", "not_a_number")],
            id="lines inside quotes",
        ),
        pytest.param("line", b"x\r6\rbad\r", [(2, 3, "x", "not_a_number")], id="lone CR"),
        pytest.param(
            "line", b"x\n6\n" + b"9" * 10**6 + b"\n", [(2, 3, "x", "not_finite")], id="1 MB number"
        ),
        pytest.param(
            "churn",
            b"age,city,member\n20,Bonn,true\n20," + b"B" * 10**6 + b",true\n",
            [(2, 3, "city", "unknown_category")],
            id="1 MB category",
        ),
        pytest.param("fussy", b"x\n1\n-2\n3\n", [(2, 3, None, "prediction_failed")], id="refused"),
    ],
)
def test_bad_rows_are_reported_where_they_stand_and_cost_no_good_one(
    api: Api, model: str, body: bytes, faults: Faults
) -> None:
    job = accepted(api.submit(body, model=model))
    lines, errors = results(api, job), row_errors(api, job)

    bad = {row: code for row, _, _, code in reversed(faults)}
    assert [tuple(error.values()) for error in errors] == faults
    assert {int(line["row"]): line["error"] for line in lines if line["error"]} == bad
    assert all(bool(line["prediction"]) != bool(line["error"]) for line in lines)
    assert job["counts"] == {
        "total": len(lines), "succeeded": len(lines) - len(bad), "failed": len(bad), "pending": 0
    }  # fmt: skip
    assert job["status"] == ("failed" if len(bad) == len(lines) else "partially_succeeded")


def test_a_good_row_is_scored_as_if_its_bad_neighbours_were_not_there(api: Api) -> None:
    good = [f"{i / 7!r},{i * 1.1!r},{i!r}" for i in range(200)]
    mixed = [line for row in good for line in (row, "bad,1,2", "1,2")]

    alone = accepted(api.submit("\n".join(["a,b,c", *good]), model="forest"))
    among = accepted(api.submit("\n".join(["a,b,c", *mixed]), model="forest"))

    expected = [line["prediction"] for line in results(api, alone)]
    assert [line["prediction"] for line in results(api, among) if not line["error"]] == expected


def test_seven_bad_rows_of_ten_thousand_are_found_and_the_others_scored(api: Api) -> None:
    bad = [1, 17, 999, 1000, 5000, 9998, 10_000]
    rows = ["bad" if row in bad else str(row) for row in range(1, 10_001)]

    job = accepted(api.submit("\n".join(["x", *rows]), model="echo"))

    assert (job["status"], job["counts"]["failed"]) == ("partially_succeeded", 7)
    assert [(e["row"], e["line"]) for e in row_errors(api, job)] == [(r, r + 1) for r in bad]
    good = {int(r["row"]): float(r["prediction"]) for r in results(api, job) if not r["error"]}
    assert good == {row: 10.0 * row for row in range(1, 10_001) if row not in bad}


def test_a_message_shows_the_cell_but_not_a_megabyte_of_it(api: Api) -> None:
    job = accepted(api.submit(b"x\n6\n" + b"z" * 10**6 + b"\n", model="line"))

    text = api.get(job["urls"]["errors"]).text
    assert "Column 'x' holds 'zzzz" in text
    assert "it takes a number" in text
    assert len(text) < 300


# --- requests about things that are not there


def request(api: Api, method: str, path: str) -> requests.Response:
    return requests.request(method, f"{api.url}{path}", timeout=60)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nope", ["no model 'nope'", "line"]),
        ("line:9", ["no version '9'", "it has 1"]),
        ("line@", ["'line@'", "'name:version'"]),
        ("../line", ["'../line'", "'name:version'"]),
        ("", ["?model=", "line", "forest"]),
    ],
)
def test_an_unknown_model_is_answered_with_those_there_are(
    api: Api, reference: str, words: list[str]
) -> None:
    assert_problem(api.submit("x\n6\n", model=reference), 404, "model_not_found", *words)


@pytest.mark.parametrize("job_id", [UNKNOWN_JOB, "job_1", "%00", "{}", "x" * 500])
@pytest.mark.parametrize(
    ("method", "suffix"),
    [("GET", ""), ("DELETE", ""), ("GET", "/results"), ("GET", "/errors"), ("POST", "/cancel")],
)
def test_an_unknown_job_is_not_found(api: Api, method: str, suffix: str, job_id: str) -> None:
    answer = request(api, method, f"/jobs/{job_id}{suffix}")

    assert_problem(answer, 404, "job_not_found", "no job", "GET /jobs")


@pytest.mark.parametrize("path", ["/", "/nope", "/jobs/", f"/jobs/{UNKNOWN_JOB}/nope", "/models/"])
def test_an_unknown_route_is_not_found(api: Api, path: str) -> None:
    assert_problem(api.get(path), 404, "not_found", "not found", "check your spelling")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/jobs", {"GET", "POST"}),
        ("DELETE", "/jobs", {"GET", "POST"}),
        ("PATCH", f"/jobs/{UNKNOWN_JOB}", {"GET", "DELETE"}),
        ("POST", f"/jobs/{UNKNOWN_JOB}/results", {"GET"}),
        ("GET", f"/jobs/{UNKNOWN_JOB}/cancel", {"POST"}),
        ("POST", "/models", {"GET"}),
        ("POST", "/healthz", {"GET"}),
    ],
)
def test_a_wrong_method_is_answered_with_the_right_ones(
    api: Api, method: str, path: str, allowed: set[str]
) -> None:
    answer = request(api, method, path)

    assert_problem(answer, 405, "method_not_allowed", "method")
    assert set(answer.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == allowed


@pytest.mark.parametrize("what", ["results", "errors"])
def test_results_are_not_there_before_the_end(api: Api, what: str) -> None:
    job = accepted(api.submit("x\n" + "1\n" * 500, wait=0, model="slow"))

    answer = api.get(job["urls"][what])

    assert_problem(answer, 409, "job_not_finished", job["id"], "Retry-After")
    assert int(answer.headers["Retry-After"]) >= 1
    api.delete(job["urls"]["self"])


# --- query strings


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("color=red", ["no parameter 'color'", "delimiter", "error_threshold"]),
        ("model=line&model=echo", ["'model'", "'line, echo'", "once"]),
        ("output=transform", ["'output'", "'transform'", "predict_proba"]),
        ("output=predict_proba", ["'output'", "can't be 'predict_proba'", "offers predict"]),
        ("join=all", ["'join'", "'all'", "'input'"]),
        ("delimiter=x", ["'delimiter'", "'x'", "%09"]),
        ("delimiter=", ["'delimiter'", "''"]),
        ("error_threshold=-2", ["'error_threshold'", "'-2'", "-1"]),
        ("error_threshold=half", ["'error_threshold'", "'half'", "whole number"]),
        ("expires_in=0", ["'expires_in'", "'0'", "seconds"]),
        ("strict=maybe", ["'strict'", "'maybe'", "'true'"]),
    ],
)
def test_a_wrong_option_is_refused_by_name(api: Api, query: str, words: list[str]) -> None:
    model = "" if query.startswith("model") else "model=line&"

    answer = requests.post(
        f"{api.url}/jobs?{model}{query}",
        data="x\n6\n",
        headers={"Content-Type": "text/csv"},
        timeout=60,
    )

    assert_problem(answer, 422, "invalid_parameter", *words)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=0", ["'limit'", "'0'", "1 to 100"]),
        ("limit=101", ["'limit'", "'101'", "1 to 100"]),
        ("limit=ten", ["'limit'", "'ten'", "whole number"]),
        ("limit=1&limit=2", ["'limit'", "once"]),
        ("status=done", ["'status'", "'done'", "partially_succeeded"]),
        ("after=x", ["'after'", "'x'", "id of a job"]),
        ("page=2", ["no parameter 'page'", "after"]),
    ],
)
def test_a_wrong_parameter_of_the_list_is_refused_by_name(
    api: Api, query: str, words: list[str]
) -> None:
    assert_problem(api.get(f"/jobs?{query}"), 422, "invalid_parameter", *words)


def test_a_parameter_that_results_do_not_know_is_refused(api: Api) -> None:
    job: dict[str, Any] = accepted(api.submit("x\n6\n", model="line"))

    answer = api.get(f"{job['urls']['results']}?page=2")

    assert_problem(answer, 422, "invalid_parameter", "no parameter 'page'")
