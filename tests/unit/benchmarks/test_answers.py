import pytest

from benchmarks.answers import Answer, AnswerReader, BrokenAnswerError, request

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"6\r\nhello \r\nA;note=x\r\nchunky\r\nor\r\n0\r\n\r\n"
)
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


def answers_of(data: bytes, *, piece_bytes: int) -> list[Answer]:
    reader = AnswerReader()
    pieces = (data[i : i + piece_bytes] for i in range(0, len(data), piece_bytes))
    return [answer for piece in pieces if (answer := reader.feed(piece))]


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("data", "status", "body"),
    [(PLAIN, 200, b"hello"), (CHUNKED, 202, b"hello chunky\r\nor"), (EMPTY, 204, b"")],
)
def test_an_answer_is_read_from_pieces_of_any_size(
    data: bytes, status: int, body: bytes, piece_bytes: int
) -> None:
    (answer,) = answers_of(data, piece_bytes=piece_bytes)

    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize("piece_bytes", [1, 5, 11])
def test_one_answer_may_follow_the_other(piece_bytes: int) -> None:
    answers = answers_of(CHUNKED + PLAIN + CHUNKED, piece_bytes=piece_bytes)

    assert [answer.status for answer in answers] == [202, 200, 202]


def test_a_sink_takes_the_body_as_it_comes() -> None:
    pieces: list[bytes] = []
    reader = AnswerReader(pieces.append)

    assert reader.feed(PLAIN[:-2]) is None
    assert pieces == [b"hel"]
    answer = reader.feed(PLAIN[-2:])

    assert answer is not None
    assert (b"".join(pieces), answer.body) == (b"hello", b"")


def test_header_names_are_in_lower_case_and_tell_the_end_of_a_connection() -> None:
    (answer,) = answers_of(PLAIN.replace(b"OK\r\n", b"OK\r\nCONNECTION: close\r\n"), piece_bytes=99)

    assert answer.headers["connection"] == "close"
    assert answer.is_last


def test_a_reader_knows_whether_an_answer_has_begun() -> None:
    reader = AnswerReader()

    assert not reader.has_begun
    reader.feed(PLAIN[:10])
    assert reader.has_begun
    reader.feed(PLAIN[10:])
    assert not reader.has_begun


def test_what_is_no_http_is_broken() -> None:
    with pytest.raises(BrokenAnswerError):
        AnswerReader().feed(b"SSH-2.0\r\n\r\n")


def test_a_request_says_how_long_its_body_is() -> None:
    sent = request("POST", "/jobs", b"x\n1\n", "Content-Type: text/csv\r\n")

    assert sent.startswith(b"POST /jobs HTTP/1.1\r\n")
    assert b"\r\nContent-Length: 4\r\n" in sent
    assert sent.endswith(b"\r\nContent-Type: text/csv\r\n\r\nx\n1\n")
