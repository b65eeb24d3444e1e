"""All that is said of a run: machine, tables, where time and memory go, acceptance."""

from collections.abc import Iterator

from benchmarks import acceptance, machine, report, workloads
from benchmarks.figures import Measurements
from benchmarks.models import Model
from benchmarks.report import MB, Titles
from benchmarks.rounds import MEMORY, Plan


def text(plan: Plan, found: Measurements, titles: Titles) -> str:
    """The whole report as Markdown; figures are medians and ends over the rounds."""
    return "\n\n".join(_parts(plan, found, titles))


def _parts(plan: Plan, found: Measurements, titles: Titles) -> Iterator[str]:
    sizes = plan.sizes
    yield machine.facts()
    yield (
        f"{plan.rounds} rounds; median (least..most). Ratios are those of each round. "
        f"{sizes.rows:,} rows a bulk job, {sizes.jobs:,} small jobs of "
        f"{workloads.SMALL_JOB_ROWS} rows a round of W2, {sizes.seconds:g} s a round of W3."
    )
    if "w1" in plan.workloads:
        for model in plan.models:
            yield from _bulk_parts(found, model, titles)
    small = plan.models[0]
    if "w2" in plan.workloads:
        yield f"## W2: many small jobs, 16 clients ({small.title})"
        yield report.small_table(found, small.name, titles)
        yield "CPU milliseconds a job:"
        unit = sizes.jobs / 1000
        yield report.grouped_table(found, ("w2", small.name), "cpu", titles, unit=unit)
    if "w3" in plan.workloads:
        yield f"## W3: small jobs, 5 a second, beside bulk jobs ({small.title})"
        yield report.mixed_table(found, small.name, titles)
    yield "## Acceptance (meant for 1,000,000 rows, 2,000 jobs and 5 rounds on an idle machine)"
    body_bytes = workloads.bulk_file(sizes.rows).stat().st_size
    yield "\n".join(f"- {line}" for line in acceptance.lines(found, body_bytes=body_bytes))


def _bulk_parts(found: Measurements, model: Model, titles: Titles) -> Iterator[str]:
    turns = ("w1", model.name)
    yield f"## W1: one bulk job, {model.name.upper()} ({model.title})"
    yield report.bulk_table(found, model.name, titles)
    threads = found.spread("w1", model.name, "limit-2", "threads")
    if threads:
        yield f"The two processes of the limit used {threads.median:.0f} thread(s) each."
    yield "CPU seconds:"
    yield report.grouped_table(found, turns, "cpu", titles)
    yield "Peak RSS, MB (shared pages count in every process):"
    yield report.grouped_table(found, turns, "rss", titles, unit=MB, digits=0)
    yield "Peak PSS, MB (shared pages are divided), in one run more that was not timed:"
    pss = report.grouped_table(found, (MEMORY, model.name), "pss", titles, unit=MB, digits=0)
    yield pss
    yield "Peak of Redis' own memory, MB:"
    yield report.grouped_table(found, turns, "redis", titles, unit=MB, digits=0)
    yield "Where the time goes, seconds (of the worker's processes together):"
    yield report.grouped_table(found, turns, "step", titles, digits=3)
