"""The report of a leader about itself, as a value that both ends share.

Unset is not zero: flags say which of its counters mean anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.calibration import MemoryUsage
from echoplaned.core.cpu_isa import CpuIsa
from echoplaned.core.engine_figures import EngineFigures
from echoplaned.core.measure import Histogram
from echoplaned.core.token_counts import TokenCounts
from echoplaned.worker_contract.record import WorkerPhase
from echoplaned.worker_contract.version import CONTRACT_VERSION


@dataclass(frozen=True, slots=True)
class CounterFlags:
    """What an engine counts and tells.

    Attributes:
        counts_arrivals: whether ``arrivals`` and ``in_flight`` mean something.
        counts_errors: whether ``ok`` and both kinds of error mean something.
        has_histograms: whether latencies are counted.
        has_traces: whether the leader sends traces of requests.
    """

    counts_arrivals: bool = False
    counts_errors: bool = False
    has_histograms: bool = False
    has_traces: bool = False


FLAGS_OF_CONTRACT_1 = CounterFlags(counts_arrivals=True, counts_errors=True, has_traces=True)
"""What every leader counts that speaks contract 1."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Running totals of a leader's requests.

    They only grow, but for ``in_flight`` and ``queued``, and begin at 0 with the process.

    Attributes:
        ok: requests that were answered well.
        client_errors: requests refused for what the caller sent, or cancelled by it.
        server_errors: requests that failed otherwise.
        arrivals: requests that arrived.
        in_flight: requests under way now.
        queued: requests that wait for a place in a batch.
        overloaded: requests that found no room, or whose deadline passed while the model worked at its usual pace.
        calls: calls of any method but control's, inference among them; 0 where they are not counted.
    """

    ok: int = 0
    client_errors: int = 0
    server_errors: int = 0
    arrivals: int = 0
    in_flight: int = 0
    queued: int = 0
    overloaded: int = 0
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of an engine's processes, in bytes.

    Attributes:
        rss_bytes: resident bytes now.
        rss_anon_bytes: anonymous part of the resident bytes.
        rss_file_bytes: part of the resident bytes that is mapped from files.
        peak_rss_bytes: largest resident memory since the load began; once it serves, since then.
        standby_anon_bytes: anonymous memory on standby, before the load; 0 where there was no standby.
        standby_file_bytes: memory mapped from files on standby; 0 where there was no standby.
        load_peak_rss_bytes: largest resident memory of the load; 0 before it serves.
        exercised_sequences: sequences of the largest batch so far; 0: none yet.
        exercised_tokens: tokens that each of them was padded to; 0: none yet.
    """

    rss_bytes: int = 0
    rss_anon_bytes: int = 0
    rss_file_bytes: int = 0
    peak_rss_bytes: int = 0
    standby_anon_bytes: int = 0
    standby_file_bytes: int = 0
    load_peak_rss_bytes: int = 0
    exercised_sequences: int = 0
    exercised_tokens: int = 0

    @property
    def model_bytes(self) -> int:
        """Resident memory above standby."""
        anonymous = self.rss_anon_bytes - self.standby_anon_bytes
        return max(0, anonymous + self.rss_file_bytes - self.standby_file_bytes)

    def usage(self, engine_version: str, cpu_isa: str) -> MemoryUsage | None:
        """Return the memory peaks above standby and the batch that they belong to.

        None until the engine serves.
        """
        if not self.load_peak_rss_bytes:
            return None
        standby_bytes = self.standby_anon_bytes + self.standby_file_bytes
        return MemoryUsage(
            engine_version=engine_version,
            load_peak_bytes=max(0, self.load_peak_rss_bytes - standby_bytes),
            serving_peak_bytes=max(0, self.peak_rss_bytes - standby_bytes),
            file_bytes=max(0, self.rss_file_bytes - self.standby_file_bytes),
            sequences=self.exercised_sequences,
            tokens=self.exercised_tokens,
            cpu_isa=_read_isa(cpu_isa),
        )


@dataclass(frozen=True, slots=True)
class StartProgress:
    """How far a start is.

    Attributes:
        step: what the start does now, in a few words for people.
        count: number that grows with every step and every sign of life.
    """

    step: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """How a leader stands.

    Attributes:
        phase: phase that the leader has come to.
        counters: counters of its requests, as far as the flags say.
        flags: flags that say what it counts and tells.
        idle_s: seconds since a request arrived that was no probe of the daemon; None: none has.
        progress: steps of the model computed so far.
        step_expected_s: seconds that the step under way is expected to take; 0: none is, or it cannot tell.
        memory: memory of the engine's processes.
        failure: why it FAILED, in one sentence; empty: it did not.
        draining: whether it was marked as draining.
        instance: name of the instance; empty on standby.
        generation: of the instance; 0 on standby.
        engine_version: what runs the model; empty before standby.
        kind: the engine's kind; empty in contract 1.
        contract: version of the contract that it speaks.
        histograms: latencies, one entry a measure.
        start: how far a start is; None: it cannot tell.
        cpu_isa: the instruction set that its matrix library uses; empty: it does not say.
        figures: numbers that the engine says of itself; None: none.
        tokens: tokens that the engine counted; None: it counts none.
    """

    phase: WorkerPhase
    counters: Counters = Counters()
    flags: CounterFlags = FLAGS_OF_CONTRACT_1
    idle_s: float | None = None
    progress: int = 0
    step_expected_s: float = 0.0
    memory: Memory = Memory()
    failure: str = ""
    draining: bool = False
    instance: str = ""
    generation: int = 0
    engine_version: str = ""
    kind: str = ""
    contract: int = CONTRACT_VERSION
    histograms: tuple[Histogram, ...] = ()
    start: StartProgress | None = None
    cpu_isa: str = ""
    figures: EngineFigures | None = None
    tokens: TokenCounts | None = None

    @property
    def usage(self) -> MemoryUsage | None:
        """Peaks of memory above standby; None until the engine serves."""
        return self.memory.usage(self.engine_version, self.cpu_isa)


def _read_isa(name: str) -> CpuIsa | None:
    """Return an instruction set by its name.

    None where none is told, or one that this release does not know.
    """
    return CpuIsa(name) if name in set(CpuIsa) and name != CpuIsa.UNKNOWN else None
