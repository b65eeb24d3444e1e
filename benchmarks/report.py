"""The tables of a run, as Markdown."""

from collections.abc import Callable, Mapping, Sequence

from benchmarks.figures import Measurements, Spread

MB = 1e6

Titles = Mapping[str, str]
"""Contenders' titles by their names, in the order of the lines."""


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table whose columns are aligned."""
    rows = [head, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([padded[0], rule, *padded[1:]])


def spread_text(spread: Spread | None, digits: int = 2) -> str:
    """Median and ends: `1.23 (1.10..1.40)`."""
    if spread is None:
        return "–"
    median = f"{spread.median:.{digits}f}"
    if spread.low == spread.high:
        return median
    return f"{median} ({spread.low:.{digits}f}..{spread.high:.{digits}f})"


def _lines(
    titles: Titles, cells: Callable[[str], Sequence[str]], measured: Callable[[str], object]
) -> list[list[str]]:
    return [[title, *cells(name)] for name, title in titles.items() if measured(name)]


def bulk_table(found: Measurements, model: str, titles: Titles) -> str:
    """W1: seconds and ratios."""

    def cells(name: str) -> list[str]:
        others = ("limit-2", "pandas", "textbook")
        ratios = (found.ratio("w1", model, (name, other), "seconds") for other in others)
        return [
            spread_text(found.spread("w1", model, name, "seconds"), 3),
            *map(spread_text, ratios),
        ]

    head = ("", "seconds", "/ limit, 2 processes", "/ pandas script", "/ textbook")
    return table(
        head, _lines(titles, cells, lambda name: found.spread("w1", model, name, "seconds"))
    )


def small_table(found: Measurements, model: str, titles: Titles) -> str:
    """W2: jobs a second and latencies."""

    def cells(name: str) -> list[str]:
        ratios = (
            found.ratio("w2", model, (name, other), "jobs_per_second")
            for other in ("textbook", "mlserver")
        )
        return [
            spread_text(found.spread("w2", model, name, "jobs_per_second"), 0),
            *map(spread_text, ratios),
            *_latencies(found, "w2", model, name),
        ]

    head = ("", "jobs/s", "/ textbook", "/ MLServer", "p50 ms", "p95 ms", "p99 ms")
    return table(
        head, _lines(titles, cells, lambda name: found.spread("w2", model, name, "p50_ms"))
    )


def mixed_table(found: Measurements, model: str, titles: Titles) -> str:
    """W3: small jobs' latencies, and what they cost the bulk job."""

    def cells(name: str) -> list[str]:
        figures = (("bulk_alone_seconds", 3), ("bulk_seconds", 3), ("bulk_loss", 2))
        return [
            *_latencies(found, "w3", model, name),
            *(spread_text(found.spread("w3", model, name, one), digits) for one, digits in figures),
        ]

    head = ("", "p50 ms", "p95 ms", "p99 ms", "bulk alone, s", "bulk beside, s", "loss")
    return table(
        head, _lines(titles, cells, lambda name: found.spread("w3", model, name, "p50_ms"))
    )


def _latencies(found: Measurements, workload: str, model: str, name: str) -> list[str]:
    return [
        spread_text(found.spread(workload, model, name, f"{percentile}_ms"), 1)
        for percentile in ("p50", "p95", "p99")
    ]


def grouped_table(
    found: Measurements,
    turns: tuple[str, str],
    prefix: str,
    titles: Titles,
    *,
    unit: float = 1,
    digits: int = 2,
) -> str:
    """Figures `<prefix>.<group>` of the turns of a workload and a model, a column for each group.

    `unit`: what they are divided by.
    """
    workload, model = turns
    names = [
        figure
        for turn in found.turns
        if (turn.workload, turn.model) == turns and turn.contender in titles
        for figure in turn.figures
        if figure.startswith(f"{prefix}.")
    ]
    figures = list(dict.fromkeys(names))

    def scaled(name: str, figure: str) -> Spread | None:
        spread = found.spread(workload, model, name, figure)
        return spread and Spread(spread.median / unit, spread.low / unit, spread.high / unit)

    def cells(name: str) -> list[str]:
        return [spread_text(scaled(name, figure), digits) for figure in figures]

    head = ("", *(figure.removeprefix(f"{prefix}.") for figure in figures))
    return table(
        head, _lines(titles, cells, lambda name: any(scaled(name, one) for one in figures))
    )
