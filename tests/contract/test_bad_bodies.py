"""Bodies that are no table, or no table for the model, are refused before they cost anything."""

import gzip
import io

import pytest
import requests

from tests.contract.answers import accepted, assert_problem, newer_job, newest_job, results
from tests.contract.bodies import FILE, FORM, GZIP, MEBIBYTE, PACKED, WIDE_ROW, form, in_pieces
from tests.live_stack import Api

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
    assert newer_job(api, before) is None


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
        ({"Content-Type": "application/xml"}, ["Content-Type", "application/xml", "text/csv"]),
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


def test_a_body_over_the_limit_is_refused_unread_if_it_says_so(api: Api) -> None:
    before = newest_job(api)

    answer = api.submit(bytes(64 * MEBIBYTE + 1), model="line")

    assert_problem(answer, 413, "body_too_large", str(64 * MEBIBYTE), "split it")
    assert newer_job(api, before) is None


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
