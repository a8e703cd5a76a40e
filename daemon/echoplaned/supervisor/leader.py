"""Leads one foreign engine through its whole life.

It starts the engine when it is told what to load, watches it, and ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import grpc

from echoplaned.core.endpoints import Endpoint, EndpointProtocol, tcp_endpoint
from echoplaned.core.failure import Reason
from echoplaned.core.signature import signature_for
from echoplaned.engine_kinds import EngineKind
from echoplaned.engine_kinds.foreign import Build, EngineMissingError
from echoplaned.supervisor.latencies import Latencies
from echoplaned.supervisor.launching import Places, Prepared, engine_of, prepare
from echoplaned.supervisor.log import EngineLog
from echoplaned.supervisor.memory import MemoryMeter
from echoplaned.supervisor.oip_service import Served, TranslatingService
from echoplaned.supervisor.process import EngineProcess
from echoplaned.supervisor.starting import start_engine, why_ended
from echoplaned.supervisor.watching import EngineWatch
from echoplaned.worker_contract.content import Content, open_content
from echoplaned.worker_contract.inference.counters import RequestCounters as CallCounters
from echoplaned.worker_contract.inference.errors import LoadError, LoadSourceChangedError
from echoplaned.worker_contract.order import Loaded, LoadFailedError, LoadOrder, WrongPhaseError
from echoplaned.worker_contract.record import RecordFile, WorkerPhase
from echoplaned.worker_contract.report import CounterFlags, Counters, Report, StartProgress
from echoplaned.worker_contract.service import TraceRecorder

GGUF: Final = ".gguf"

EXIT_LOST: Final = 70
"""Exit code of a supervisor whose engine ended unasked, whatever the engine's own code was."""


def _flags(kind: EngineKind, build: Build | None) -> CounterFlags:
    """Return which counters of a report hold all requests.

    Unset is not zero, and gates abstain by name where they do not hold all requests.

    Of an engine that counts none, only what is translated here is known. What goes to its own port passes nobody of ours: whoever
    routes it has to tell of it, and would be called a liar if what came through here were said to be all.
    """
    names = engine_of(kind).metric_names("" if build is None else build.metrics_version)
    counts = names.counts_requests
    return CounterFlags(counts_arrivals=counts, counts_errors=counts, has_histograms=bool(names.histograms))


class Supervisor:
    """A leader whose engine is a child process that is not ours.

    Everything happens on one event loop.

    Args:
        record_file: its record.
        kind: what it leads, as the daemon's settings name it.
        prefix: where that is installed.
        log: takes the engine's output.
        end: ends this process with a code.

    Attributes:
        traces: recorder of traces; always None: foreign engines are not traced.
    """

    traces: TraceRecorder | None = None

    def __init__(
        self, record_file: RecordFile, kind: EngineKind, prefix: str, log: EngineLog, end: Callable[[int], None]
    ) -> None:
        self._record_file = record_file
        self._kind = kind
        self._prefix = prefix
        self._log = log
        self._end = end
        self._counters = CallCounters(time.monotonic)
        self._latencies = Latencies(time.monotonic)
        self.inference = TranslatingService(record_file.record.control_key, self._counters, self._latencies)
        self._order: LoadOrder | None = None
        self._loading: asyncio.Task[Loaded] | None = None
        self._build: Build | None = None
        self._prepared: Prepared | None = None
        self._engine: EngineProcess | None = None
        self._watch: EngineWatch | None = None
        self._sources = contextlib.ExitStack()
        self._failure = ""
        self._draining = False
        self._stopping = False
        self._changed = asyncio.Event()

    # --- the contract ---

    async def open(self, server: grpc.aio.Server) -> tuple[Endpoint, ...]:
        """Add the inference service to the server, and return no further endpoint.

        Where the engine listens is known once it has loaded.
        """
        self.inference.add_to(server)
        return ()

    def report(self) -> Report:
        """Return how it stands."""
        order, watch, calls = self._order, self._watch, self._counters
        numbers = watch.numbers if watch is not None else None
        engine_counts = numbers is not None and watch is not None and watch.counts_requests
        in_flight = max(calls.in_flight, numbers.in_flight if numbers is not None else 0)
        if numbers is not None and engine_counts:
            ended = numbers.ok + numbers.client_errors + numbers.server_errors
            counters = Counters(
                numbers.ok, numbers.client_errors, numbers.server_errors, ended + numbers.in_flight, in_flight
            )
        else:
            counters = Counters(
                ok=calls.ok,
                client_errors=calls.client_errors,
                server_errors=calls.server_errors,
                arrivals=calls.arrivals,
                in_flight=in_flight,
                overloaded=calls.overloads,
                calls=calls.calls,
            )
        latencies = numbers.histograms if numbers is not None and numbers.histograms else self._latencies.report()
        return Report(
            phase=self._record_file.record.phase,
            counters=counters,
            flags=_flags(self._kind, self._build),
            idle_s=watch.idle_s(calls.seconds_since_last_arrival) if watch is not None else None,
            progress=(numbers.steps if numbers is not None else 0) + calls.ok,
            memory=watch.memory.report() if watch is not None else Report(WorkerPhase.STANDBY).memory,
            failure=self._failure,
            draining=self._draining,
            instance=str(order.instance) if order is not None else "",
            generation=order.generation if order is not None else 0,
            engine_version=self._build.version if self._build is not None else "",
            kind=self._kind.name,
            histograms=latencies,
            start=self._start_progress(),
            figures=watch.figures if watch is not None else None,
            tokens=numbers.tokens if numbers is not None else None,
        )

    async def load(self, order: LoadOrder) -> Loaded:
        """Start the engine and return when it answers.

        The same order again has the same result, also while it is under way.
        """
        # The daemon learns of the build from this very start, and may name it when it asks again.
        if self._order is not None and replace(self._order, engine_build=order.engine_build) != order:
            raise WrongPhaseError("this engine has another order")
        if self._loading is None:
            self._order = order
            self._loading = asyncio.get_running_loop().create_task(self._load(order), name="load")
        # A caller that goes away is a daemon that ended: the next one asks again, and the start goes on.
        return await asyncio.shield(self._loading)

    def mark_draining(self, *, draining: bool) -> None:
        """Mark as draining, or take the mark back; it goes on answering either way."""
        self._draining = draining
        self._tell()

    async def wait_for_change(self, timeout_s: float) -> None:
        """Return at a change, or after the timeout."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()

    async def stop(self) -> None:
        """End the engine and all that it started.

        It has a grace only where it serves, as one that starts may swallow SIGTERM.
        """
        self._stopping = True
        serves = self._record_file.record.phase is WorkerPhase.READY
        if self._watch is not None:
            self._watch.close()
        if self._loading is not None:
            self._loading.cancel()
        if self._engine is not None:
            await self._engine.end(engine_of(self._kind).stop_grace_s if serves else 0.0)
        self._sources.close()
        self._remove_socket()

    # --- the start ---

    async def _load(self, order: LoadOrder) -> Loaded:
        began_s = time.monotonic()
        try:
            self._record_file.update(WorkerPhase.LOADING, instance=str(order.instance), generation=order.generation)
            self._tell()
            served = await self._start(order)
            self._record_file.update(WorkerPhase.READY, endpoints=self._endpoints())
        except LoadFailedError as error:
            await self._fail(error)
            raise
        except Exception as error:
            # The boundary: whatever an engine's answers cause here, no engine lives on behind a load that failed. Nobody foresaw it, so
            # nothing says that another start would end the same way.
            failure = LoadFailedError(f"the start failed: {type(error).__name__}: {error}", retryable=True)
            await self._fail(failure)
            raise failure from error
        self.inference.served = served
        self._tell()
        version = self._build.version if self._build is not None else ""
        return Loaded(served.signature, version, load_s=time.monotonic() - began_s, engine_build=version)

    async def _fail(self, error: LoadFailedError) -> None:
        """End the engine, and tell why it does not serve."""
        self._failure = str(error)
        # The phase is set before it is written, so reports say FAILED also where the disk does not take it.
        with contextlib.suppress(OSError):
            self._record_file.update(WorkerPhase.FAILED)
        if self._engine is not None:
            await self._engine.end(0.0)
        self._remove_socket()
        self._tell()

    async def _start(self, order: LoadOrder) -> Served:
        engine = engine_of(self._kind)
        try:
            self._build = await asyncio.to_thread(engine.find_build, self._prefix)
        except EngineMissingError as error:
            raise LoadFailedError(str(error)) from error
        self._refuse_other_build(order, self._build)
        content = await asyncio.to_thread(self._open_content, order)
        model = order.source_path if content is None else content.directory
        if content is not None and order.source_path.suffix.lower() == GGUF:
            model /= order.source_path.name
        places = Places(model, self._record_file.socket_path, self._record_file.scratch_dir)
        try:
            prepared = prepare(order, self._kind, self._build, places)
        except ValueError as error:
            raise LoadFailedError(str(error)) from error
        self._prepared = prepared
        self._log.note(f"starting {' '.join(prepared.command)}"[:1500])
        try:
            self._engine = EngineProcess(prepared.command, prepared.environment, self._log.read, self._exited)
        except OSError as error:
            raise LoadFailedError(f"{prepared.command[0]} cannot be started: {error}") from error
        meter = MemoryMeter(order.max_concurrency, order.context_length)
        self._watch = EngineWatch(engine, self._build, prepared.address, self._tell, meter, note=self._log.note)
        translator = await start_engine(engine, prepared, self._engine, self._log)
        if content is not None:
            await asyncio.to_thread(_check_unchanged, content)
        self._log.started()
        await self._watch.started()
        if not self._engine.is_alive:
            raise why_ended(engine, self._engine.code or 0, self._log)
        return Served(
            order.instance,
            order.task,
            order.context_length,
            order.max_concurrency,
            signature_for(order.task),
            translator,
            self._kind.name,
        )

    def _refuse_other_build(self, order: LoadOrder, build: Build) -> None:
        """Refuse a build that did not serve the version first.

        Its answers were never compared with those of the first one.

        Raises:
            LoadFailedError: it is another build than the one that was asked for.
        """
        if order.engine_build in ("", build.version):
            return
        message = (
            f"{self._prefix} holds {build.version} and the version was served by {order.engine_build}: install that again, or load "
            f"the model with this build as another version (an update compares the two; --engine NAME=PREFIX names a second build)"
        )
        raise LoadFailedError(message, reason=Reason.ENGINE_CHANGED)

    def _open_content(self, order: LoadOrder) -> Content | None:
        """Open the files that were ordered; None: nothing was named.

        They stay open as long as the engine lives: it may read a file again.

        Raises:
            LoadFailedError: it is not what was ordered, or cannot be read.
        """
        if order.content is None:
            return None
        try:
            return self._sources.enter_context(open_content(order, self._record_file.links_dir))
        except LoadSourceChangedError as error:
            raise LoadFailedError(str(error), reason=Reason.SOURCE_CHANGED) from error
        except LoadError as error:
            raise LoadFailedError(str(error), retryable=error.retryable) from error

    def _endpoints(self) -> tuple[Endpoint, ...]:
        own = tuple(one for one in self._record_file.record.endpoints if one.protocol is EndpointProtocol.OIP_GRPC)
        if self._prepared is None:
            return own
        address = self._prepared.address
        if address.socket:
            return (*own, Endpoint(EndpointProtocol.OPENAI_HTTP, f"unix:{address.socket}"))
        return (*own, tcp_endpoint(EndpointProtocol.OPENAI_HTTP, f"127.0.0.1:{address.port}"))

    def _start_progress(self) -> StartProgress | None:
        if self._order is None or self._watch is None:
            return None
        # Steps, output and computing are signs of life; memory the daemon looks at itself.
        count = self._log.steps_seen + self._log.total_bytes // 64 + int(self._watch.memory.cpu_s)
        return StartProgress(self._log.step or "starting", count)

    # --- the end ---

    def _exited(self, code: int) -> None:
        """Handle the end of the engine's process.

        In a start whoever waits for it says so; later it is a loss, whatever its code.
        """
        if self._stopping or self._record_file.record.phase is not WorkerPhase.READY:
            return
        how = f"killed by signal {-code}" if code < 0 else f"with exit code {code}"
        self._log.note(f"the engine ended unasked, {how}; {self._log.why() or 'it wrote nothing'}")
        self._stopping = True
        self._end(EXIT_LOST)

    def _remove_socket(self) -> None:
        if self._prepared is not None and self._prepared.address.socket:
            Path(self._prepared.address.socket).unlink(missing_ok=True)

    def _tell(self) -> None:
        """Wake whoever waits for a change, and begin to wait for the next."""
        self._changed.set()
        self._changed = asyncio.Event()


def _check_unchanged(content: Content) -> None:
    """Compare what the engine has read with what was opened.

    Raises:
        LoadFailedError: a file was written meanwhile.
    """
    try:
        content.check_unchanged()
    except LoadSourceChangedError as error:
        raise LoadFailedError(str(error), reason=Reason.SOURCE_CHANGED) from error
