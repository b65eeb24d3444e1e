"""Tables as lines of JSON and as JSON: every good row is scored, and the others say why not."""

import gzip
import hashlib
import json

import pytest

from tests.contract.answers import (
    accepted,
    assert_problem,
    newer_job,
    newest_job,
    records,
    results,
    row_errors,
)
from tests.contract.bodies import GZIP, form, in_pieces
from tests.contract.tables import JSON, NDJSON
from tests.live_stack import Api


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


# --- NDJSON


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b'{"x": 6}\n{"x": 7}\n', {}, id="plain"),
        pytest.param(b'\xef\xbb\xbf\n{"x": 6}\r\n \t\r\n{"x": 7}', {}, id="BOM, CRLF, blank lines"),
        pytest.param(gzip.compress(b'{"x": 6}\n{"x": 7}\n'), GZIP, id="gzip"),
        pytest.param(b'{"y": [{}], "x": "6"}\n{"x": "7e0"}\n', {}, id="texts, and more columns"),
    ],
)
def test_a_line_is_a_row(api: Api, body: bytes, headers: dict[str, str]) -> None:
    answer = api.predict(body, model="line", headers=NDJSON | headers)

    assert answer.status_code == 200, answer.text
    assert answer.text == "row,prediction,error\n1,15,\n2,17,\n"


def test_the_job_says_what_was_sent(api: Api) -> None:
    body = b'{"x": 6}\n'

    job = accepted(api.submit(body, model="line", headers=NDJSON))

    digest = hashlib.sha256(body).hexdigest()
    assert job["input"] == {"format": "ndjson", "bytes": len(body), "sha256": digest}


def test_a_row_that_is_wrong_costs_no_other(api: Api) -> None:
    body = b"\n".join(
        [
            b'{"x": 1, "id": "a"}',
            b'{"x": 1, "id": ',
            b"[1]",
            b'"\n{"x": 2, "id": "c"}',
            b'{"x": [2], "id": "d"}',
            b'{"x": "two", "id": "e"}',
            b'{"x": null, "id": "f"}',
            b'{"id": "g"}',
            b'{"x": true, "id": "h"}',
            b'{"x": NaN, "id": "i"}',
            b'{"x": 1e999, "id": "j"}',
            b'{"x": 1, "x": 2, "id": "k"}',
            b'{"x": 1, "id": "\\u0000"}',
            b'{"x": 1, "id": "\\ud800"}',
            b'{"x": 1, "id": "\xff"}',
            b"[" * 100_000,
            b'{"x": %s, "id": "p"}' % (b"9" * 5000),
            b'{"x": 3, "id": "q"}',
        ]
    )

    job = accepted(api.submit(body, model="line", key="id", headers=NDJSON))

    good = [(line["row"], line["id"], line["prediction"]) for line in records(api, job)]
    assert [found for found in good if found[2] is not None] == [
        (1, "a", 5.0),
        (5, "c", 7.0),
        (19, "q", 9.0),
    ]
    found = row_errors(api, job)
    assert [(e["row"], e["line"], e["column"] or "", e["code"]) for e in found] == [
        (2, 2, "", "invalid_json"),
        (3, 3, "", "invalid_json"),
        (4, 4, "", "invalid_json"),
        (6, 6, "x", "nested_value"),
        (7, 7, "x", "not_a_number"),
        (8, 8, "x", "missing_value"),
        (9, 9, "x", "missing_value"),
        (10, 10, "x", "not_a_number"),
        (11, 11, "x", "missing_value"),
        (12, 12, "x", "not_finite"),
        (13, 13, "", "repeated_key"),
        (14, 14, "id", "nul_byte"),
        (15, 15, "id", "invalid_utf8"),
        (16, 16, "", "invalid_utf8"),
        (17, 17, "", "invalid_json"),
        (18, 18, "x", "not_finite"),
    ]


def test_rows_that_failed_are_kept_as_they_were_sent_and_retried(api: Api) -> None:
    body = b'{"x": 1, "id": 1}\n\n{"x": "one", "id": 20}\nrubbish\n'
    first = accepted(api.submit(body, model="line", key="id", headers=NDJSON))

    retried = accepted(api.post(f"{first['urls']['self']}/retry", json={"only": "failed"},
                                Prefer="wait=20"))  # fmt: skip

    assert retried["input"]["format"] == "ndjson"
    assert retried["input"]["bytes"] == len(b'{"x": "one", "id": 20}\nrubbish\n')
    assert [(e["row"], e["line"], e["code"]) for e in row_errors(api, retried)] == [
        (2, 3, "not_a_number"),
        (3, 4, "invalid_json"),
    ]
    assert [line["id"] for line in results(api, retried)] == ["20", ""]


def test_values_are_carried_as_they_were_written(api: Api) -> None:
    odd = {"x": 1, "big": 2**70, "text": 'a,"b"\nc', "yes": True, "none": None, "blank": "  "}
    body = lines(odd).replace(b'"none"', b'"exact": 0.10000000000000000000001, "none"')

    job = accepted(api.submit(body, model="line", join="input", headers=NDJSON))

    [line] = results(api, job)
    assert line["big"] == str(2**70)
    assert line["text"] == 'a,"b"\nc'
    assert line["exact"] == "0.10000000000000000000001"
    assert (line["yes"], line["none"], line["blank"]) == ("true", "", "  ")
    assert list(line)[1:7] == ["x", "big", "text", "yes", "exact", "none"]


def test_only_null_and_nothing_are_missing(api: Api) -> None:
    body = lines({"a": 1, "b": 2, "c": None}, {"a": 1, "b": 2}, {"a": 1, "b": 2, "c": "NA"},
                 {"a": 1, "b": 2, "c": "nan"})  # fmt: skip

    job = accepted(api.submit(body, model="forest", headers=NDJSON))

    assert [(e["row"], e["column"], e["code"]) for e in row_errors(api, job)] == [
        (3, "c", "not_a_number"),
        (4, "c", "not_a_number"),
    ]


def test_texts_and_booleans_are_features_too(api: Api) -> None:
    body = lines(
        {"age": 20, "city": "Bonn", "member": True},
        {"age": 20.0, "city": "Bonn", "member": "TRUE"},
        {"age": 20, "city": "Rome", "member": False},
        {"age": 20, "city": "Bonn", "member": 1},
        {"age": 20, "city": "Bonn", "member": "perhaps"},
    )

    job = accepted(api.submit(body, model="churn", headers=NDJSON))

    assert [(e["row"], e["column"], e["code"]) for e in row_errors(api, job)] == [
        (3, "city", "unknown_category"),
        (5, "member", "not_a_boolean"),
    ]


@pytest.mark.parametrize(
    ("body", "query", "problems"),
    [
        (lines({"z": 1}), {}, [("missing_column", "a"), ("missing_column", "b")]),
        (lines({"a": 1}, {"b": 1}), {}, []),
        (lines({"a": 1, "b": 1, "z": 1}), {"strict": "true"}, [("unknown_column", "z")]),
        (lines({"a": 1, "b": 1}), {"key": "id"}, [("missing_column", "id")]),
    ],
)
def test_the_keys_of_the_first_rows_are_the_header(
    api: Api, body: bytes, query: dict[str, str], problems: list[tuple[str, str]]
) -> None:
    answer = api.submit(body, model="linear", headers=NDJSON, **query)

    if not problems:
        accepted(answer)
        return
    document = assert_problem(answer, 422, "header_mismatch", extra=frozenset({"errors"}))
    assert [(e["code"], e["column"]) for e in document["errors"]] == problems


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        pytest.param(b"", 422, "empty_input", ["empty"], id="empty"),
        pytest.param(b"\n \r\n\t\n", 422, "empty_input", ["empty"], id="blank lines"),
        pytest.param(b"x\n6\n", 400, "invalid_json", ["one JSON object a line"], id="CSV"),
        pytest.param(b"[\n{\n", 400, "invalid_json", ["application/json"], id="pretty JSON"),
        pytest.param('{"x": 6}'.encode("utf-16"), 422, "invalid_encoding", ["UTF-16"], id="UTF-16"),
        pytest.param(
            b'{"x": 6, "y": "' + b"a" * 5 * 1024**2, 422, "record_too_large", ["line 1"], id="long"
        ),
        pytest.param(
            lines({f"c{i}": i for i in range(5000)}), 422, "too_many_columns", ["5000"], id="wide"
        ),
        pytest.param(
            b'{"x": 6, "\\ud800": 1}', 400, "invalid_json", ["Key", "no character"], id="half a key"
        ),
    ],
)
def test_what_holds_no_line_of_json_is_refused(
    api: Api, body: bytes, status: int, code: str, words: list[str]
) -> None:
    before = newest_job(api)

    answer = api.submit(body, model="line", headers=NDJSON)

    assert_problem(answer, status, code, *words)
    assert newer_job(api, before) is None


def test_a_large_body_is_cut_into_chunks(api: Api) -> None:
    rows = 30_000
    block = b"".join(b'{"id": %d, "x": %d, "t": "%s"}\n' % (i, i % 10, b"a" * 200)
                     for i in range(rows))  # fmt: skip
    pieces = in_pieces(*(block[at : at + 99_999] for at in range(0, len(block), 99_999)))

    job = accepted(api.submit(pieces, model="line", key="id", headers=NDJSON))  # type: ignore[arg-type]

    assert job["counts"] == {"total": rows, "succeeded": rows, "failed": 0, "pending": 0}
    assert job["progress"]["chunks_total"] > 1
    found = results(api, job)
    assert [line["id"] for line in found] == [str(i) for i in range(rows)]
    assert [line["prediction"] for line in found] == [str(i % 10 * 2 + 3) for i in range(rows)]


def test_the_same_lines_with_the_same_key_make_one_job(api: Api) -> None:
    headers = NDJSON | {"Idempotency-Key": "lines"}
    first = accepted(api.submit(b'{"x": 6}\n', model="line", headers=headers))

    again = api.submit(b'{"x": 6}\n', model="line", headers=headers)
    other = api.submit(b'{"x": 7}\n', model="line", headers=headers)

    assert accepted(again)["id"] == first["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert_problem(other, 422, "idempotency_key_reused")


# --- JSON

A_AND_B = [
    pytest.param([{"a": 1, "b": 2}, {"b": 4, "a": 3}], id="records"),
    pytest.param({"dataframe_records": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]}, id="MLflow records"),
    pytest.param(
        {"dataframe_split": {"index": [9, 8], "columns": ["b", "a"], "data": [[2, 1], [4, 3]]}},
        id="split",
    ),
    pytest.param({"dataframe_split": {"data": [[2, 1], [4, 3]], "columns": ["b", "a"]}}, id="data"),
    pytest.param({"instances": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]}, id="instances"),
    pytest.param({"instances": [[1, 2], [3.0, "4"]]}, id="lists"),
    pytest.param({"inputs": [[1, 2], [3, 4]]}, id="inputs"),
    pytest.param({"inputs": {"b": [2, 4], "a": [1, 3], "z": [0, 0]}}, id="columns"),
]


@pytest.mark.parametrize("table", A_AND_B)
@pytest.mark.parametrize("indent", [None, 2])
def test_json_in_every_form_is_the_same_table(api: Api, table: object, indent: int | None) -> None:
    expected = api.predict("a,b\n1,2\n3,4\n", model="linear").text

    answer = api.predict(json.dumps(table, indent=indent), model="linear", headers=JSON)

    assert answer.text == expected


def test_one_record_is_one_row(api: Api) -> None:
    answer = api.predict(b'\xef\xbb\xbf {"x": 6, "inputs": 3} ', model="line", headers=JSON)

    assert answer.text == "row,prediction,error\n1,15,\n"


def test_the_job_says_that_it_was_json(api: Api) -> None:
    body = b'[{"x": 6},\n\n {"x": "six"}, 7]'

    job = accepted(api.submit(body, model="line", headers=JSON))

    digest = hashlib.sha256(body).hexdigest()
    assert job["input"] == {"format": "json", "bytes": len(body), "sha256": digest}
    assert [(e["row"], e["line"], e["code"]) for e in row_errors(api, job)] == [
        (2, 2, "not_a_number"),
        (3, 3, "invalid_json"),
    ]


def test_a_list_with_too_few_values_is_an_error_of_its_row(api: Api) -> None:
    job = accepted(api.submit('{"inputs": [[1, 2], [3]]}', model="linear", headers=JSON))

    assert [(e["row"], e["code"]) for e in row_errors(api, job)] == [(2, "invalid_json")]


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        pytest.param("", 422, "empty_input", ["empty"], id="empty"),
        pytest.param("[]", 422, "empty_input", ["empty"], id="no record"),
        pytest.param('{"instances": []}', 422, "empty_input", ["empty"], id="no instance"),
        pytest.param("{}", 422, "header_mismatch", ["'x'"], id="a record of nothing"),
        pytest.param("[1, 2]", 400, "invalid_json", ["list of records"], id="numbers"),
        pytest.param("[[1], [2]]", 400, "invalid_json", ["list of records"], id="bare lists"),
        pytest.param("6", 400, "invalid_json", ["dataframe_split"], id="a number"),
        pytest.param("x\n6\n", 400, "invalid_json", ["neither", "inputs"], id="CSV"),
        pytest.param('[{"x": 6}', 400, "invalid_json", ["line 1, column 10"], id="not closed"),
        pytest.param('[{"x": 6},]', 400, "invalid_json", ["line 1"], id="comma at the end"),
        pytest.param('[{"x": 6}] []', 400, "invalid_json", ["nothing more"], id="more"),
        pytest.param('{"x": }', 400, "invalid_json", ["value"], id="no value"),
        pytest.param("{x: 6}", 400, "invalid_json", ["key"], id="no quotes"),
        pytest.param('{"x" 6}', 400, "invalid_json", [], id="no colon"),
        pytest.param("[" * 10**6, 400, "invalid_json", ["deep"], id="deep"),
        pytest.param('{"x": ' + "[" * 10**6, 400, "invalid_json", ["deep"], id="deep in a record"),
        pytest.param('{"inputs": ' + "[" * 10**6, 400, "invalid_json", ["deep"], id="deep inputs"),
        pytest.param('{"inputs": 3}', 422, "header_mismatch", ["'x'"], id="inputs is a column"),
        pytest.param(
            '{"inputs": [[1]], "params": {}}', 400, "invalid_json", ["params"], id="params"
        ),
        pytest.param('{"inputs": {"x": 3}}', 400, "invalid_json", ["columns"], id="scalars"),
        pytest.param('{"inputs": {"x": [3], "y": []}}', 400, "invalid_json", ["long"], id="ragged"),
        pytest.param('{"dataframe_records": {"x": [3]}}', 400, "invalid_json", ["list"], id="dict"),
        pytest.param('{"dataframe_split": []}', 400, "invalid_json", ["columns"], id="split list"),
        pytest.param(
            '{"dataframe_split": {"columns": ["x"]}}', 400, "invalid_json", ["data"], id="no data"
        ),
        pytest.param(
            '{"dataframe_split": {"columns": ["x", "x"], "data": []}}',
            400,
            "invalid_json",
            ["twice"],
            id="a column twice",
        ),
        pytest.param(
            '{"dataframe_split": {"columns": [null], "data": [[1]]}}',
            400,
            "invalid_json",
            ["texts"],
            id="columns without names",
        ),
        pytest.param(b'{"x": "\xff"}', 422, "invalid_encoding", ["UTF-8"], id="Latin-1"),
        pytest.param(
            '{"x": "' + "a" * 17 * 1024**2 + '"}', 413, "body_too_large", ["ndjson"], id="large"
        ),
    ],
)
def test_json_that_is_no_table_is_refused_and_makes_no_job(
    api: Api, body: str | bytes, status: int, code: str, words: list[str]
) -> None:
    before = newest_job(api)

    answer = api.submit(body, model="line", headers=JSON)

    extra = frozenset({"errors"} if code == "header_mismatch" else set())
    assert_problem(answer, status, code, *words, extra=extra)
    assert newer_job(api, before) is None


# --- forms


@pytest.mark.parametrize(
    ("head", "content", "expected"),
    [
        ('name="file"; filename="x.jsonl"', b'{"x": 6}\n', "ndjson"),
        ('name="file"; filename="x.JSON"', b'[{"x": 6}]', "json"),
        (
            'name="file"; filename="x.json"\r\nContent-Type: application/octet-stream',
            b'[{"x": 6}]',
            "json",
        ),
        ('name="file"\r\nContent-Type: application/x-ndjson', b'{"x": 6}\n', "ndjson"),
        ('name="file"; filename="x.json"\r\nContent-Type: text/csv', b"x\n6\n", "csv"),
        ('name="file"; filename="x"\r\nContent-Type: application/vnd.ms-excel', b"x\n6\n", "csv"),
    ],
)
def test_a_file_in_a_form_may_be_of_any_format(
    api: Api, head: str, content: bytes, expected: str
) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=B"}

    job = accepted(api.submit(form((head, content)), model="line", headers=headers))

    assert (job["input"]["format"], job["input"]["bytes"]) == (expected, len(content))
    assert results(api, job) == [{"row": "1", "prediction": "15", "error": ""}]


# --- rows that a model can't bear


def test_the_row_that_a_model_fails_on_is_found_among_lines(api: Api) -> None:
    body = lines(*({"x": 1} for _ in range(10)), {"x": -13}, *({"x": 1} for _ in range(10)))

    job = accepted(api.submit(body.replace(b"\n", b"\n\n", 3), model="fussy", headers=NDJSON))

    found = [(e["row"], e["line"], e["code"]) for e in row_errors(api, job)]
    assert found == [(11, 14, "prediction_failed")]
    assert job["counts"]["succeeded"] == 20
