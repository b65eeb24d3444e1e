"""All contenders, in the order of the tables."""

from collections.abc import Sequence

from benchmarks.contenders import in_process, mlserver, rowmill, textbook
from benchmarks.contenders.contender import Contender

NAMES = (
    "pandas",
    "limit-1",
    "limit-2",
    "rowmill",
    "rowmill-follow",
    "rowmill-predict",
    "textbook",
    "mlserver",
)


def contenders(rows: int, names: Sequence[str]) -> list[Contender]:
    """Those named; `rows` is the size of a bulk job."""
    everyone = [
        *in_process.contenders(rows),
        *rowmill.contenders(rows),
        *textbook.contenders(rows),
        *mlserver.contenders(rows),
    ]
    return [one for one in everyone if one.name in names]
