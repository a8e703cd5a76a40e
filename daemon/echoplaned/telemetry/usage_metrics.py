"""Metrics of what the gateway's callers used, and of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from prometheus_client.core import CounterMetricFamily, Metric

from echoplaned.core.token_counts import TokenCounts
from echoplaned.ports.tokens import TokenReport
from echoplaned.ports.usage import OTHER_CLIENTS, UsageKey, UsageReport, UsageTotals

MAX_SHOWN: Final = 1000
"""Pairs of a client and a version with metrics of their own, the busiest; the others are added up under the client ``other-not-shown``.

Of tokens: versions, those with most of them; the others are added up under the model of that name.
"""

_LABELS: Final = ("client", "model", "version")
_NOT_SHOWN: Final = f"{OTHER_CLIENTS}-not-shown"


def of_usage(report: UsageReport) -> Iterator[Metric]:
    """Yield the counters, none where nothing was counted."""
    if not report.usages:
        return
    requests = CounterMetricFamily(
        "echoplane_gateway_requests", "Requests of the gateway that ended.", labels=(*_LABELS, "status_class")
    )
    seconds = CounterMetricFamily(
        "echoplane_gateway_request_seconds", "From each request's begin to its end, added up.", labels=_LABELS
    )
    received = CounterMetricFamily("echoplane_gateway_received_bytes", "Bytes of requests' bodies.", labels=_LABELS)
    sent = CounterMetricFamily("echoplane_gateway_sent_bytes", "Bytes of answers' bodies.", labels=_LABELS)
    for key, usage in _shown(report):
        labels = (key.client, key.model, key.version)
        classes = {"2xx": usage.ok, "4xx": usage.client_errors, "5xx": usage.server_errors, "none": usage.unanswered}
        for name, count in classes.items():
            requests.add_metric((*labels, name), count)
        seconds.add_metric(labels, usage.duration_s)
        received.add_metric(labels, usage.received_bytes)
        sent.add_metric(labels, usage.sent_bytes)
    yield from (requests, seconds, received, sent)


def of_tokens(report: TokenReport) -> Iterator[Metric]:
    """Yield the counters of tokens.

    A version whose engines count none has no line: a zero would say that there were none.
    """
    if not report.totals:
        return
    labels = ("model", "version")
    prompt = CounterMetricFamily(
        "echoplane_engine_prompt_tokens", "Tokens of the texts that a version's engines were given.", labels=labels
    )
    generated = CounterMetricFamily(
        "echoplane_engine_generated_tokens", "Tokens that a version's engines generated.", labels=labels
    )
    most = sorted(report.totals.items(), key=lambda each: (-each[1].prompt - each[1].generated, str(each[0])))
    shown = [((key.model, key.version), tokens) for key, tokens in most[:MAX_SHOWN]]
    if len(most) > MAX_SHOWN:
        shown.append(((_NOT_SHOWN, ""), sum((each[1] for each in most[MAX_SHOWN:]), start=TokenCounts())))
    for named, tokens in shown:
        prompt.add_metric(named, tokens.prompt)
        generated.add_metric(named, tokens.generated)
    yield from (prompt, generated)


def _shown(report: UsageReport) -> Iterator[tuple[UsageKey, UsageTotals]]:
    busiest = sorted(report.usages.items(), key=lambda each: (-each[1].requests, each[0]))
    yield from islice(busiest, MAX_SHOWN)
    if len(busiest) > MAX_SHOWN:
        yield (
            UsageKey(_NOT_SHOWN),
            sum((each[1] for each in busiest[MAX_SHOWN:]), start=UsageTotals()),
        )
