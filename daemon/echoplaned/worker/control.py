"""The embedded engine as a leader under the worker contract.

Translates orders, reports and traces between its own worker and the contract's terms.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from echoplaned.core.failure import Reason
from echoplaned.core.token_counts import TokenCounts
from echoplaned.engine_kinds import embedded
from echoplaned.worker.memory import MemoryUse, read_memory
from echoplaned.worker.options import LoadOptions
from echoplaned.worker.shape import BatchShape
from echoplaned.worker.tracing import Tracer
from echoplaned.worker.worker import Serving, Worker
from echoplaned.worker_contract.inference.errors import LoadError, LoadSourceChangedError
from echoplaned.worker_contract.order import Loaded, LoadFailedError, LoadOrder
from echoplaned.worker_contract.report import CounterFlags, Counters, Memory, Report

FLAGS: Final = CounterFlags(counts_arrivals=True, counts_errors=True, has_histograms=False, has_traces=True)


class EmbeddedLeader:
    """Implements the contract's ``Leader`` for the worker of this process.

    Args:
        worker: the worker's state.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    @property
    def traces(self) -> Tracer:
        """What requests said."""
        return self._worker.tracer

    def report(self) -> Report:
        """Return how the worker stands."""
        return make_report(self._worker)

    async def load(self, order: LoadOrder) -> Loaded:
        """Load the model and return when it serves.

        Raises:
            WrongPhaseError: the worker is not on standby, or has another order.
            LoadFailedError: the checkpoint cannot be served.
            ValueError: an option is unknown or out of range.
        """
        try:
            options = replace(read_options(order), links_dir=self._worker.links_dir)
            serving = await self._worker.load(options)
        except LoadSourceChangedError as error:
            raise LoadFailedError(str(error), reason=Reason.SOURCE_CHANGED) from error
        except LoadError as error:
            raise LoadFailedError(str(error), retryable=error.retryable) from error
        return _loaded(serving, self._worker.engine_version)

    def mark_draining(self, *, draining: bool) -> None:
        """Mark the worker as draining, or take the mark back."""
        self._worker.mark_draining(draining=draining)

    async def wait_for_change(self, timeout_s: float) -> None:
        """Return at the next change of phase, or after the timeout."""
        await self._worker.wait_for_change(timeout_s)


def read_options(order: LoadOrder) -> LoadOptions:
    """Return an order as the worker takes it.

    Raises:
        ValueError: an option is unknown or out of range, or the weights' format is none of the kind's.
    """
    options = embedded.KIND.read_options(order.engine_options)
    if violations := embedded.KIND.check_weights_format(order.weights_format):
        raise ValueError(violations[0].description)
    return LoadOptions(
        instance=order.instance,
        generation=order.generation,
        source_path=order.source_path,
        task=order.task,
        dtype=order.dtype,
        context_length=order.context_length,
        max_concurrency=order.max_concurrency,
        torch_threads=int(options[embedded.TORCH_THREADS]),
        device="cpu" if order.device_id == "host" else order.device_id,
        digest=order.digest,
        content=order.content,
    )


def make_report(worker: Worker) -> Report:
    """Return how a worker stands."""
    counters, serving, options = worker.counters, worker.serving, worker.options
    return Report(
        phase=worker.phase,
        counters=Counters(
            ok=counters.ok,
            client_errors=counters.client_errors,
            server_errors=counters.server_errors,
            arrivals=counters.arrivals,
            in_flight=counters.in_flight,
            overloaded=counters.overloads,
            calls=counters.calls,
            queued=serving.batcher.waiting if serving is not None else 0,
        ),
        flags=FLAGS,
        idle_s=counters.seconds_since_last_arrival,
        progress=serving.batcher.progress if serving is not None else 0,
        step_expected_s=serving.batcher.step_expected_s if serving is not None else 0.0,
        memory=_memory(read_memory(), worker),
        failure=worker.failure,
        draining=worker.draining,
        instance=str(options.instance) if options is not None else "",
        generation=options.generation if options is not None else 0,
        engine_version=worker.engine_version,
        cpu_isa=worker.cpu_isa,
        kind=embedded.NAME,
        tokens=serving.batcher.tokens if serving is not None else TokenCounts(),
    )


def _memory(now: MemoryUse, worker: Worker) -> Memory:
    standby = worker.standby_memory
    exercised = worker.serving.batcher.exercised if worker.serving else BatchShape()
    return Memory(
        rss_bytes=now.rss_bytes,
        rss_anon_bytes=now.anon_bytes,
        rss_file_bytes=now.file_bytes,
        peak_rss_bytes=now.peak_bytes,
        standby_anon_bytes=standby.anon_bytes if standby else 0,
        standby_file_bytes=standby.file_bytes if standby else 0,
        load_peak_rss_bytes=worker.load_peak_bytes,
        exercised_sequences=exercised.sequences,
        exercised_tokens=exercised.tokens,
    )


def _loaded(serving: Serving, engine_version: str) -> Loaded:
    return Loaded(serving.model.signature, engine_version, serving.model.tensor_bytes, serving.load_s)
