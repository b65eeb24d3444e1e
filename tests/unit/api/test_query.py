"""A query string is understood wholly or refused by the name of what is wrong."""

import pytest
from werkzeug import Request
from werkzeug.datastructures import MultiDict

from api.query import (
    JobListQuery,
    NoQuery,
    ResultsQuery,
    RetryOrder,
    RowErrorsQuery,
    parse_order,
    parse_query,
    query_parser,
)
from shared.errors import InvalidBodyError, InvalidParameterError, UnknownParameterError
from shared.jobs import JobStatus, new_job_id
from shared.row_range import ALL_ROWS, RowRange


def parse(*pairs: tuple[str, str]) -> JobListQuery:
    return parse_query(JobListQuery, MultiDict(pairs))


def test_an_empty_query_has_defaults() -> None:
    assert parse() == JobListQuery(status=None, model=None, limit=20, after=None)


def test_values_are_taken_in_their_types() -> None:
    job_id = new_job_id()

    query = parse(("status", "running"), ("limit", "7"), ("after", job_id), ("model", "m"))

    assert (query.status, query.limit) == (JobStatus.RUNNING, 7)
    assert (query.after, query.model) == (job_id, "m")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("status", "done", "succeeded"),
        ("limit", "0", "from 1 to 100"),
        ("limit", "101", "from 1 to 100"),
        ("limit", "many", "from 1 to 100"),
        ("limit", "", "from 1 to 100"),
        ("after", "job_1", "id of a job"),
        ("after", "job_" + "0" * 32 + "\n", "id of a job"),
    ],
)
def test_a_wrong_value_is_refused_with_what_it_should_be(
    name: str, value: str, expected: str
) -> None:
    with pytest.raises(InvalidParameterError, match=f"'{name}'.*{expected}"):
        parse((name, value))


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="give it once"):
        parse(("limit", "1"), ("limit", "2"))


def test_an_unknown_parameter_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownParameterError, match=r"'page'.*status, model, limit, after"):
        parse(("page", "1"))


def test_where_there_are_no_parameters_none_is_taken() -> None:
    with pytest.raises(UnknownParameterError, match=r"'limit'.*none"):
        parse_query(NoQuery, MultiDict({"limit": "1"}))


def test_a_part_of_the_results_is_all_of_them_unless_something_is_said() -> None:
    assert parse_query(ResultsQuery, MultiDict()).rows == ALL_ROWS
    assert parse_query(RowErrorsQuery, MultiDict({"offset": "3", "limit": "0"})).rows == RowRange(
        offset=3, limit=0
    )


@pytest.mark.parametrize(
    ("query", "is_followed"),
    [({}, False), ({"follow": "true"}, True), ({"follow": "false"}, False)],
)
def test_results_are_followed_only_by_who_says_so(
    query: dict[str, str], *, is_followed: bool
) -> None:
    assert parse_query(ResultsQuery, MultiDict(query)).follow is is_followed


@pytest.mark.parametrize("query", ["", "follow=true", "follow=%74rue&", "&follow=false"])
def test_a_raw_query_is_understood_as_its_parameters(query: str) -> None:
    parse_raw = query_parser(ResultsQuery)
    expected = parse_query(ResultsQuery, Request.from_values(query_string=query).args)

    assert [parse_raw(query.encode()) for _ in range(2)] == [expected] * 2


@pytest.mark.parametrize("query", ["page=%ff", "page=1", "page", "follow", "follow=&follow=x"])
def test_a_raw_query_is_refused_as_its_parameters_every_time(query: str) -> None:
    parse_raw = query_parser(ResultsQuery)
    with pytest.raises(InvalidParameterError) as expected:
        parse_query(ResultsQuery, Request.from_values(query_string=query).args)

    for _ in range(2):
        with pytest.raises(InvalidParameterError) as refused:
            parse_raw(query.encode())
        assert str(refused.value) == str(expected.value)


# --- JSON orders


def test_an_order_is_taken_in_its_types() -> None:
    order = parse_order(RetryOrder, b'{"only": "failed", "model": "line:2"}')

    assert order == RetryOrder(only="failed", model="line:2")


def test_a_member_that_is_left_out_is_named() -> None:
    with pytest.raises(InvalidParameterError, match=r"'only' can't be ''; it is 'failed'"):
        parse_order(RetryOrder, b'{"model": "line"}')


def test_an_unknown_member_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownParameterError, match=r"'rows'.*only, model"):
        parse_order(RetryOrder, b'{"only": "failed", "rows": [1]}')


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b'"{}"', b"{", b"\xff", b"[" * 10**5])
def test_what_is_no_object_is_no_order(text: bytes) -> None:
    with pytest.raises(InvalidBodyError):
        parse_order(RetryOrder, text)
