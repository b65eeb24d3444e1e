"""Downloads: whole or not at all."""

import os
from pathlib import Path

import pytest

from rowmill.downloads import save
from rowmill.errors import OutputError, TransportError


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_download_writes_the_results_and_nothing_beside_them(client, server, tmp_path):
    server.say("GET", "/jobs/job_1/results", body=b"row,prediction\n")

    client.download("job_1", tmp_path / "out.csv")

    assert (tmp_path / "out.csv").read_bytes() == b"row,prediction\n"
    assert names_in(tmp_path) == ["out.csv"]


def test_a_download_that_breaks_off_leaves_the_old_file(client, server, tmp_path):
    server.say("GET", "/jobs/job_1/results", body=b"half", claimed_bytes=100)
    (tmp_path / "out.csv").write_bytes(b"old")

    with pytest.raises(TransportError, match="broke off"):
        client.download("job_1", tmp_path / "out.csv")

    assert (tmp_path / "out.csv").read_bytes() == b"old"
    assert names_in(tmp_path) == ["out.csv"]


@pytest.mark.parametrize("what", ["results", "errors"])
def test_a_format_is_asked_for_by_its_media_type(client, server, what):
    server.say("GET", f"/jobs/job_1/{what}", body=b"")

    assert list(getattr(client, what)("job_1", "ndjson")) == []

    assert server.requests[-1].headers["Accept"] == "application/x-ndjson"


def test_a_link_stays_a_link_to_the_new_content(tmp_path):
    (tmp_path / "real.csv").write_bytes(b"old")
    (tmp_path / "link.csv").symlink_to("real.csv")

    save([b"new"], tmp_path / "link.csv")

    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_bytes() == b"new"


def test_a_pipe_is_written_to_and_not_replaced():
    reader, writer = os.pipe()

    save([b"new"], f"/dev/fd/{writer}")

    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"new"


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()

    save([b"new"], tmp_path / "out.csv")

    assert (tmp_path / "out.csv").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"nowhere/out\.csv: No such file"):
        save([b"new"], tmp_path / "nowhere" / "out.csv")


def test_a_full_disk_is_told():
    with pytest.raises(OutputError, match="No space left"):
        save([bytes(100_000)], "/dev/full")
