"""Installs peers to compare with, each in an environment of its own: `python -m benchmarks.peers`.

Their requirements don't agree with Rowmill's or with each other's.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks import cache

MLSERVER = "mlserver"
PEERS = (MLSERVER,)


def program(peer: str, name: str) -> Path:
    """Where a program of a peer's environment is, or would be."""
    return cache.ROOT / peer / "bin" / name


def install(peer: str) -> None:
    """Make the environment of a peer, by its requirement file beside this module."""
    requirements = Path(__file__).with_name(f"{peer}.txt")
    print(f"Installing {peer} into {cache.ROOT / peer} …", flush=True)
    subprocess.run((sys.executable, "-m", "venv", "--clear", cache.ROOT / peer), check=True)
    pip = (program(peer, "python"), "-m", "pip", "install", "--quiet", "--no-compile")
    subprocess.run((*pip, "-r", requirements), check=True)


def main() -> None:
    for peer in PEERS:
        install(peer)


if __name__ == "__main__":
    main()
