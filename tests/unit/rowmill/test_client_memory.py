"""What the client itself takes of memory while a file that is much larger goes through it."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

LARGE_BYTES = 256 * 1024**2
MOST_BYTES = 96 * 1024**2
"""Python with requests has about 40 MB."""

CLIENT = """
import sys
from pathlib import Path
from rowmill.client import Client

url, source, target = sys.argv[1:]
with Client(url) as client:
    client.submit(source).download(target)
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
"""


class DrainingServer(ThreadingHTTPServer):
    """Takes any body and forgets it; gives as much."""

    daemon_threads = True
    received_bytes = 0
    job: object = None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: DrainingServer

    def do_POST(self) -> None:
        rest = int(self.headers["Content-Length"])
        while rest and (block := self.rfile.read(min(rest, 1024**2))):
            self.server.received_bytes += len(block)
            rest -= len(block)
        body = json.dumps(self.server.job).encode()
        self.send_response(202)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        block = b"1,15,\n" * 100_000
        for _ in range(LARGE_BYTES // len(block)):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def draining(job_document) -> Iterator[DrainingServer]:
    with DrainingServer(("127.0.0.1", 0), Handler) as server:
        server.job = job_document("queued")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")
def test_a_large_file_goes_both_ways_in_flat_memory(draining, tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    with source.open("wb") as file:
        file.truncate(LARGE_BYTES)
    url = f"http://127.0.0.1:{draining.server_port}"

    done = subprocess.run(
        [sys.executable, "-c", CLIENT, url, source, target],
        check=True,
        capture_output=True,
        text=True,
    )

    assert draining.received_bytes == LARGE_BYTES
    assert target.stat().st_size > LARGE_BYTES * 0.99
    assert int(done.stdout) < MOST_BYTES
