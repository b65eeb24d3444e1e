"""The tables of a run, as Markdown."""

from collections.abc import Sequence

from benchmarks.figures import Measurements, Spread

MB = 1e6


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
    return f"{spread.median:.{digits}f} ({spread.low:.{digits}f}..{spread.high:.{digits}f})"


def bulk_table(found: Measurements, model: str, titles: dict[str, str]) -> str:
    """W1: seconds and ratios."""
    lines = [
        [
            title,
            spread_text(found.spread("w1", model, name, "seconds"), 3),
            spread_text(found.ratio("w1", model, (name, "limit-2"), "seconds")),
            spread_text(found.ratio("w1", model, (name, "pandas"), "seconds")),
            spread_text(found.ratio("w1", model, (name, "textbook"), "seconds")),
        ]
        for name, title in titles.items()
        if found.spread("w1", model, name, "seconds")
    ]
    return table(("", "seconds", "/ limit, 2 processes", "/ pandas script", "/ textbook"), lines)


def small_table(found: Measurements, workload: str, model: str, titles: dict[str, str]) -> str:
    """W2: jobs a second and latencies."""
    lines = [
        [
            title,
            spread_text(found.spread(workload, model, name, "jobs_per_second"), 0),
            spread_text(found.ratio(workload, model, (name, "textbook"), "jobs_per_second")),
            spread_text(found.ratio(workload, model, (name, "mlserver"), "jobs_per_second")),
            *(
                spread_text(found.spread(workload, model, name, f"{p}_ms"), 1)
                for p in ("p50", "p95", "p99")
            ),
        ]
        for name, title in titles.items()
        if found.spread(workload, model, name, "p50_ms")
    ]
    head = ("", "jobs/s", "/ textbook", "/ MLServer", "p50 ms", "p95 ms", "p99 ms")
    return table(head, lines)
