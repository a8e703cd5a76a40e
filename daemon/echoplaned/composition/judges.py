"""Wiring of the gates."""

from __future__ import annotations

from echoplaned.composition.counts import Counts
from echoplaned.composition.host import Host
from echoplaned.composition.routes import RouteServices
from echoplaned.core.state import State
from echoplaned.engines.probing import reaches
from echoplaned.gates.counting import CountingOptions
from echoplaned.gates.evaluator import GateDependencies
from echoplaned.gates.history import CountHistory
from echoplaned.gates.runner import GateRunner
from echoplaned.gates.standard import GateSources, StandardGates
from echoplaned.ports.request_counts import CountedBy
from echoplaned.ports.traffic import TrafficSource
from echoplaned.runtime.loop import Loop
from echoplaned.settings import Settings
from echoplaned.store.evidence_files import EvidenceFiles
from echoplaned.telemetry.measured import counting_emit
from echoplaned.telemetry.metrics import Metrics


def count_sources(counts: Counts, routes: RouteServices) -> dict[CountedBy, TrafficSource]:
    """Return who counts requests."""
    return {CountedBy.LRS: routes.xds.traffic.loads, CountedBy.WORKER: counts.workers}


def gate_sources(counts: Counts, routes: RouteServices, host: Host, history: CountHistory) -> GateSources:
    """Return where the gates' evidence comes from."""
    return GateSources(
        host.prober,
        {source.value: totals for source, totals in count_sources(counts, routes).items()},
        clients=routes.xds.traffic,
        scorer=host.scorer,
        traces=counts.traces,
        engines=counts.workers,
        counting=CountingOptions(history=history, conversations=counts.conversations),
        reaches=reaches,
    )


def make_gates(settings: Settings, loop: Loop, metrics: Metrics, sources: GateSources) -> GateRunner:
    """Wire the gates over their sources."""
    dependencies = GateDependencies(
        counting_emit(loop.emit, metrics),
        loop.now_s,
        latest_state=lambda: loop.state,
        failed=loop.faults.report,
        store=_evidence_files(settings, loop.state),
    )
    return GateRunner(dependencies, StandardGates(sources))


def _evidence_files(settings: Settings, state: State) -> EvidenceFiles:
    """Return the gates' evidence store, cleared of rollouts that are over."""
    files = EvidenceFiles(settings.state_dir)
    files.keep_only({m.rollout.rollout_id for m in state.models.values() if m.rollout is not None})
    return files
