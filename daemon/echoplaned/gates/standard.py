"""The list of gates, and what gathers their evidence.

The only file of this room that knows every gate by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from echoplaned.gates.arrivals.gate import ArrivalsGate
from echoplaned.gates.clients.collector import ClientsCollector
from echoplaned.gates.clients.gate import ClientsGate
from echoplaned.gates.collector import Collector, RolloutContext
from echoplaned.gates.counting import CountingOptions, CountsCollector
from echoplaned.gates.echo.collector import BehaviourCollector
from echoplaned.gates.echo.gate import EchoGate
from echoplaned.gates.echo.subject import subject_of
from echoplaned.gates.errors.gate import ErrorsGate
from echoplaned.gates.gate import Gate
from echoplaned.gates.probes.collector import ProbeCollector
from echoplaned.gates.probes.gate import ProbesGate
from echoplaned.ports.probing import Prober, Reaches
from echoplaned.ports.scoring import Scorer
from echoplaned.ports.traces import TraceSource
from echoplaned.ports.traffic import ClientSource, EngineCounterSource, TrafficSource


@dataclass(frozen=True, slots=True)
class GateSources:
    """Where the gates' evidence comes from.

    Attributes:
        prober: makes probes.
        totals: running totals of requests by the source's name.
        clients: running totals client by client; None: only the sum is judged.
        scorer: has golden texts scored; None: nothing does.
        traces: telemetry of live requests; None: there is none.
        engines: says which counters engines have; None: they have all.
        counting: what is known of the sources in ``totals``.
        reaches: makes connections; None: nobody looks whether engines can be reached.
    """

    prober: Prober
    totals: Mapping[str, TrafficSource]
    clients: ClientSource | None = None
    scorer: Scorer | None = None
    traces: TraceSource | None = None
    engines: EngineCounterSource | None = None
    counting: CountingOptions = field(default_factory=CountingOptions)
    reaches: Reaches | None = None


def list_gates(text_count: int | None, *, has_traces: bool) -> tuple[Gate[Any], ...]:
    """Return all gates, in the order in which they judge.

    A gate knows what those before it ask for, and paired probes are asked for by others.

    ``text_count``: golden texts that can be scored; None: nothing has texts scored.
    """
    return (ErrorsGate(), ArrivalsGate(), ClientsGate(), ProbesGate(), EchoGate(text_count, has_traces=has_traces))


class StandardGates:
    """Implements ``evaluator.GateList``: errors, arrivals, clients, probes, echo."""

    def __init__(self, sources: GateSources) -> None:
        self._sources = sources
        self._text_count = sources.scorer.text_count if sources.scorer is not None else None
        self.gates = list_gates(self._text_count, has_traces=sources.traces is not None)

    def open(self, context: RolloutContext) -> tuple[CountsCollector, tuple[Collector, ...]]:
        """Return the collectors of a rollout.

        The first counts its requests, the others gather the rest of its evidence.
        """
        given = self._sources
        counts = CountsCollector(given.totals, given.engines, given.counting, context)
        others: list[Collector] = [ProbeCollector(given.prober, counts, context, given.reaches)]
        if given.clients is not None:
            others.append(
                ClientsCollector(given.clients, counts, context.new, context.old, given.counting.conversations)
            )
        has_traces = given.traces is not None
        if subject_of(context.model, context.rollout, self._text_count, has_traces=has_traces) is not None:
            others.append(BehaviourCollector(given.scorer, given.traces, counts.reader, context))
        return counts, tuple(others)
