"""What `/metrics` shows, read as Prometheus does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import requests
from prometheus_client.parser import text_string_to_metric_families

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A sample's name and labels, sorted."""


@dataclass(frozen=True, kw_only=True)
class Scrape:
    """What was shown at a moment."""

    kinds: Mapping[str, str]
    """Types by name, as the docs write it: a counter's ends in `_total`."""
    samples: Mapping[Series, float]
    labels: Mapping[str, frozenset[str]]
    """Names of a metric's labels."""

    @classmethod
    def of(cls, *urls: str, **headers: str) -> Self:
        """All that these addresses show together."""
        kinds: dict[str, str] = {}
        labels: dict[str, frozenset[str]] = {}
        samples: dict[Series, float] = {}
        for url in urls:
            answer = requests.get(url, headers=headers, timeout=30)
            answer.raise_for_status()
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            for family in text_string_to_metric_families(answer.text):
                name = f"{family.name}_total" if family.type == "counter" else family.name
                assert name not in kinds
                kinds[name] = family.type
                used = {label for sample in family.samples for label in sample.labels}
                labels[name] = frozenset(used - {"le"})
                for sample in family.samples:
                    samples[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
        return cls(kinds=kinds, samples=samples, labels=labels)

    def value(self, name: str, **labels: str) -> float:
        """The sum of all series of this name that have these labels."""
        return sum(
            value
            for (of, pairs), value in self.samples.items()
            if of == name and labels.items() <= dict(pairs).items()
        )

    def shown(self, name: str) -> dict[Series, float]:
        """All series of a metric."""
        names = {name, f"{name}_bucket", f"{name}_sum", f"{name}_count"}
        return {series: value for series, value in self.samples.items() if series[0] in names}

    def counts(self) -> dict[Series, float]:
        """What must never go down."""
        gauges = {name for name, kind in self.kinds.items() if kind == "gauge"}
        return {series: value for series, value in self.samples.items() if series[0] not in gauges}
