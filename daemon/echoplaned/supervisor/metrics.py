"""Reads an engine's Prometheus page by what its declaration names.

Whatever else is there is not looked at.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from echoplaned.core.engine_figures import EngineFigures
from echoplaned.core.measure import Histogram
from echoplaned.core.numbers import MAX_COUNT, clamp_real, read_whole
from echoplaned.core.token_counts import TokenCounts
from echoplaned.engine_kinds.foreign import FigureSource, MetricNames, MetricSeries

_SAMPLE: Final = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)")
# Matched from where the last one ended, never looked for: what does not fit is found out once, and not again from every letter in it.
_LABEL: Final = re.compile(r'[\s,]*([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"')
_MAX_BUCKETS: Final = 512


@dataclass(frozen=True, slots=True)
class MetricSample:
    """One line of a Prometheus page.

    Attributes:
        name: name of the series.
        labels: values of its labels by name; empty: none.
        value: number of the line, in the series' own unit.
    """

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class EngineNumbers:
    """What a page says, as far as it was asked for.

    Attributes:
        steps: totals that grow with the model's progress, added up.
        in_flight: requests running and waiting.
        ok: requests that ended well.
        client_errors: requests that were refused.
        server_errors: requests that failed.
        histograms: latency histograms; empty: the page has none.
        figures: numbers that the engine says of itself.
        tokens: tokens that it counted; None: the page does not tell.
    """

    steps: int = 0
    in_flight: int = 0
    ok: int = 0
    client_errors: int = 0
    server_errors: int = 0
    histograms: tuple[Histogram, ...] = ()
    figures: EngineFigures = field(default_factory=EngineFigures)
    tokens: TokenCounts | None = None


def read_page(text: str, names: MetricNames) -> EngineNumbers:
    """Read the numbers that are named; what the page lacks counts 0, but for tokens."""
    samples = list(_samples(text, _names(names)))

    def total(series: Iterable[MetricSeries]) -> int:
        return _count(sum(_sum(samples, one) for one in series))

    return EngineNumbers(
        steps=total(names.steps),
        in_flight=total((*names.running, *names.waiting)),
        ok=total(names.ok),
        client_errors=total(names.client_errors),
        server_errors=total(names.server_errors),
        histograms=tuple(filter(None, (_histogram(samples, measure, name) for measure, name in names.histograms))),
        figures=EngineFigures(**{one.figure.value: _figure(samples, one) for one in names.figures}),
        tokens=_tokens(samples, names),
    )


def _names(names: MetricNames) -> frozenset[str]:
    requests = (*names.running, *names.waiting, *names.ok, *names.client_errors, *names.server_errors)
    series = (*names.steps, *requests, *names.prompt_tokens, *names.generated_tokens)
    parts = (f"{name}{suffix}" for _, name in names.histograms for suffix in ("_bucket", "_sum"))
    return frozenset((*(one.name for one in series), *(one.name for one in names.figures), *parts))


def _tokens(samples: list[MetricSample], names: MetricNames) -> TokenCounts | None:
    """Return the tokens; None where a series is not on the page, which is no 0."""
    found = {one.name for one in samples}
    wanted = (names.prompt_tokens, names.generated_tokens)
    if not all(series and all(one.name in found for one in series) for series in wanted):
        return None
    prompt, generated = (_count(sum(_sum(samples, one) for one in series)) for series in wanted)
    return TokenCounts(prompt, generated)


def _figure(samples: list[MetricSample], source: FigureSource) -> int:
    """Return a number of the first sample that tells it; 0: none does.

    Labels have texts like ``None`` where nothing was set.
    """
    for one in samples:
        if one.name == source.name:
            label = one.labels.get(source.label, "")
            number = read_whole(label, MAX_COUNT) if source.label else _count(one.value)
            if number is not None:
                return number
    return 0


def _count(value: float) -> int:
    """Return a count out of a sum, which may be infinite even where no sample is."""
    return int(clamp_real(value, 0.0, MAX_COUNT))


def _samples(text: str, wanted: frozenset[str]) -> Iterator[MetricSample]:
    for line in io.StringIO(text):
        found = None if line.startswith("#") else _SAMPLE.match(line)
        if found is None or found[1] not in wanted:
            continue
        try:
            value = float(found[3])
        except ValueError:
            continue
        if math.isfinite(value):
            yield MetricSample(found[1], _labels(found[2] or ""), value)


def _labels(text: str) -> dict[str, str]:
    """Return labels by name, up to what is none."""
    labels: dict[str, str] = {}
    at = 0
    while (found := _LABEL.match(text, at)) is not None:
        labels[found[1]] = found[2]
        at = found.end()
    return labels


def _sum(samples: list[MetricSample], series: MetricSeries) -> float:
    return sum(
        one.value
        for one in samples
        if one.name == series.name and all(one.labels.get(label) in values for label, values in series.labels)
    )


def _histogram(samples: list[MetricSample], measure: object, name: str) -> Histogram | None:
    """Return a histogram whose buckets are cumulative on the page.

    Several label sets are added up. None where the page has no whole histogram of this name.
    """
    cumulative: dict[float, float] = {}
    for one in samples:
        if one.name == f"{name}_bucket" and "le" in one.labels:
            bound = float("inf") if one.labels["le"] in {"+Inf", "Inf"} else _bound(one.labels["le"])
            cumulative[bound] = cumulative.get(bound, 0.0) + one.value
    bounds = sorted(cumulative)
    if not bounds or bounds[-1] != math.inf or len(bounds) > _MAX_BUCKETS:
        return None
    totals = [_count(cumulative[bound]) for bound in bounds]
    counts = tuple(max(0, high - low) for low, high in zip((0, *totals), totals, strict=False))
    sum_s = clamp_real(sum(one.value for one in samples if one.name == f"{name}_sum"), 0.0, MAX_COUNT)
    return Histogram(measure, tuple(bounds[:-1]), counts, sum_s)  # type: ignore[arg-type]  # a Measure, as declared


def _bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.inf
