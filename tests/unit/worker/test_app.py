"""How a process of the pool is set up, in a process of its own."""

import subprocess
import sys

import pytest

STAND_BACK = """
import sys
from pathlib import Path
score = Path("/proc/self/oom_score_adj")
score.write_text(sys.argv[1])
from worker.app import stand_back
stand_back()
print(score.read_text())
"""


@pytest.mark.parametrize(("inherited", "own"), [(500, 1000), (900, 1000)])
def test_a_pool_process_goes_before_its_worker_whatever_the_worker_has_got(
    inherited: int, own: int
) -> None:
    command = [sys.executable, "-c", STAND_BACK, str(inherited)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert int(done.stdout) == own
