"""deploy/prometheus/alerts.yml, judged without Prometheus: what processes tell now, and which alerts it would set off.

Of an expression that compares one metric, or the maximum or count of it by shard, with a number. Others (rates, quantiles) are
not judged: their metrics must be there.
"""

from __future__ import annotations

import operator
import re
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from prometheus_client.parser import text_string_to_metric_families

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
RULES: Final[list[dict[str, Any]]] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"][0][
    "rules"
]
_SIMPLE: Final = re.compile(r"(?:(max|count) by \(shard\) \()?(\w+)\)? (==|<|>) (\d+)")
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_OVER_ALL: Final[dict[str, Callable[[list[float]], float]]] = {"max": max, "count": len}


class Sample(NamedTuple):
    """One line of `/metrics`, or `up` of a process."""

    process: str
    name: str
    labels: dict[str, str]
    value: float


def scraped(addresses: dict[str, str]) -> list[Sample]:
    """Name -> host:port of `/metrics`; what all of them tell, and which of them answer."""
    found = []
    for process, address in addresses.items():
        try:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=1) as answer:
                text = answer.read().decode()
        except OSError:
            found.append(Sample(process, "up", {}, 0))
            continue
        found.append(Sample(process, "up", {}, 1))
        for family in text_string_to_metric_families(text):
            found.extend(Sample(process, sample.name, sample.labels, sample.value) for sample in family.samples)
    return found


def ringing(samples: Iterable[Sample]) -> set[str]:
    """Alerts whose condition holds for somebody; for how long it has held is not asked."""
    by_name: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_name[sample.name].append(sample)
    rings = set()
    for rule in RULES:
        if not (simple := _SIMPLE.fullmatch(rule["expr"])):
            continue
        over_all, metric, compared, bound = simple.groups()
        values = [sample.value for sample in by_name[metric]]
        if over_all:
            shards: defaultdict[str, list[float]] = defaultdict(list)
            for sample in by_name[metric]:
                shards[sample.labels["shard"]].append(sample.value)
            values = [_OVER_ALL[over_all](of_shard) for of_shard in shards.values()]
        if any(_COMPARE[compared](value, float(bound)) for value in values):
            rings.add(rule["alert"])
    return rings


def metrics_of(expression: str) -> set[str]:
    """Names of the metrics in an expression."""
    without_labels = re.sub(r"\{[^}]*\}|by \([^)]*\)", "", expression)
    return set(re.findall(r"\b(?:hourbook|process)_\w+|\bup\b", without_labels))
