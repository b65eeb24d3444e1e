"""Downloads: whole or not at all."""

import io
import os
from pathlib import Path

import pytest

from rowmill.downloads import save
from rowmill.errors import ConnectionLostError, OutputError


@pytest.fixture
def job(client, server, job_document):
    server.say("GET", "/jobs/job_1", json_body=job_document("succeeded", succeeded=10))
    return client.job("job_1")


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_download_writes_the_results_and_nothing_beside_them(job, server, tmp_path):
    server.say("GET", "/jobs/job_1/results", body=b"row,prediction\n")

    written_bytes = job.download(tmp_path / "out.csv")

    assert (tmp_path / "out.csv").read_bytes() == b"row,prediction\n"
    assert written_bytes == 15
    assert names_in(tmp_path) == ["out.csv"]


def test_a_download_that_breaks_off_leaves_the_old_file(job, server, tmp_path):
    server.say("GET", "/jobs/job_1/results", body=b"half", claimed_bytes=100)
    (tmp_path / "out.csv").write_bytes(b"old")

    with pytest.raises(ConnectionLostError):
        job.download(tmp_path / "out.csv")

    assert (tmp_path / "out.csv").read_bytes() == b"old"
    assert names_in(tmp_path) == ["out.csv"]


def test_a_download_into_an_open_file_goes_on_from_there(job, server):
    server.say("GET", "/jobs/job_1/results", body=b"new")
    file = io.BytesIO()
    file.write(b"old,")

    job.download(file)

    assert file.getvalue() == b"old,new"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("csv", "text/csv"), ("parquet", "application/vnd.apache.parquet")],
)
def test_the_format_is_asked_for_by_its_media_type(job, server, name, media_type):
    server.say("GET", "/jobs/job_1/results", body=b"")

    assert list(job.results(name)) == []

    assert server.requests[-1].headers["Accept"] == media_type


def test_results_can_be_followed_before_the_end(job, server):
    server.say("GET", "/jobs/job_1/results", body=b"row\n")

    assert b"".join(job.results(follow=True)) == b"row\n"

    assert server.requests[-1].target == "/jobs/job_1/results?follow=true"


def test_row_errors_are_streamed(job, server):
    server.say("GET", "/jobs/job_1/errors", body=b"row,line,column,code,message\n")

    assert b"".join(job.errors()) == b"row,line,column,code,message\n"


def test_a_link_stays_a_link_to_the_new_content(tmp_path):
    (tmp_path / "real.csv").write_bytes(b"old")
    (tmp_path / "link.csv").symlink_to("real.csv")

    save([b"new"], tmp_path / "link.csv")

    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_bytes() == b"new"


def test_what_is_no_regular_file_is_written_to_and_not_replaced(tmp_path):
    save([b"gone"], os.devnull)

    assert Path(os.devnull).is_char_device()


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()

    save([b"new"], tmp_path / "out.csv")

    assert (tmp_path / "out.csv").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"nowhere/out\.csv: No such file"):
        save([b"new"], tmp_path / "nowhere" / "out.csv")


def test_a_full_disk_is_told_and_leaves_nothing_behind():
    with pytest.raises(OutputError, match="No space left"):
        save([bytes(100_000)], "/dev/full")
