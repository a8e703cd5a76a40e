"""What ``up`` does and says once the daemon serves, as a client of its public API.

Each step is one line with the seconds since the beginning; the last lines are the calls that work next.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from echoplane import AsyncClient
from echoplane.errors import EchoplaneError
from echoplane.names import model_name, short
from echoplane.options import DEFAULT_ADDRESS
from echoplane.v1 import diagnostics_pb2 as diagnostics
from echoplane.v1 import models_pb2, operations_pb2, planning_pb2, types_pb2
from echoplaned.core.text import escape
from echoplaned.engine_kinds import find_kind
from echoplaned.up.defaults import PreparedUp
from echoplaned.up.door import Door, find_tls_door
from echoplaned.up.door_request import post_json
from echoplaned.up.first_key import make_first_key
from echoplaned.up.found_models import FoundModel
from echoplaned.up.next_calls import CLASSIFICATION, EMBEDDING, NextCalls, next_calls
from echoplaned.up.running import Running, note_running, read_running

MAX_CONTEXT: Final = 4096
MAX_CONCURRENCY: Final = 4

_DOOR_S: Final = 60.0
_ANSWER_S: Final = 60.0
_POLL_S: Final = 0.1
_SHOWN: Final = 200
_UNKNOWN_KEY: Final = 401
_PROXIES: Final = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


class UpError(Exception):
    """What ``up`` was asked for did not come true; the message says what to do."""


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the command's output


@dataclass(slots=True)
class Guide:
    """Loads the model and tells people what happens.

    Attributes:
        state_dir: the daemon's state directory.
        prepared: what was worked out before the daemon started.
        say_line: prints one line.
        clock: seconds of a clock that never goes back.
        began_s: when ``up`` began, by that clock, seconds; its imports included.
        served: whether the daemon came to serve.
        tls_dir: directory with the gateway's certificate; None: not known, or it has none.
    """

    state_dir: Path
    prepared: PreparedUp
    say_line: Callable[[str], None] = _print
    clock: Callable[[], float] = time.monotonic
    began_s: float = field(default_factory=time.monotonic)
    served: bool = False
    tls_dir: Path | None = None

    def say(self, text: str) -> None:
        """Print one step that has just been done."""
        self.say_line(f"{self.clock() - self.began_s:6.1f} s  {escape(text)}")

    async def show(self, address: str) -> None:
        """Load the model into the daemon of this process, and say what works next.

        Raises:
            UpError: the model could not be loaded.
        """
        self.served = True
        await asyncio.to_thread(note_running, self.state_dir, Running(address, self.tls_dir))
        self.say(f"the daemon serves gRPC and xDS at {address}; its state is in {self.state_dir}")
        await self._guide(address, makes_key=True)
        self.say_line("")
        self.say_line("Ctrl-C ends the daemon; its engines go on serving.")

    async def show_running(self, pid: int | None, listen: str) -> None:
        """Say that a daemon has this state directory, and do the same with it.

        Args:
            pid: the process that has it; None: not known.
            listen: address that it is looked for at where it left none.

        Raises:
            UpError: it does not answer, or the model could not be loaded.
        """
        running = read_running(self.state_dir, pid)
        address = running.address or listen
        self.tls_dir = running.tls_dir or self.tls_dir
        who = "a daemon" if pid is None else f"a daemon (process {pid})"
        self.say(f"{who} is running on {self.state_dir} already, at {address}")
        await self._guide(address)

    def tell_end(self) -> None:
        """Say that the daemon has ended, and that its engines have not."""
        if self.served:
            stop = shlex.join([_program("echoplaned"), "stop-engines", "--state-dir", str(self.state_dir)])
            self.say("the daemon ended; its engines and its gateway go on, and the next daemon adopts them")
            self.say_line(f"          to end them: {stop}")

    async def _guide(self, address: str, *, makes_key: bool = False) -> None:
        try:
            async with AsyncClient(address) as client:
                status = await client.get_status()
                self._tell_engines(status)
                loaded = await self._load(client, status)
                model = loaded or _first_serving(await client.get_status())
                door = await self._wait_for_door(client)
                if not model:
                    self._tell_no_model(address)
                    return
                calls = await self._calls_of(client, model, address, door)
            if door is not None and makes_key:
                calls = await self._with_key(calls)
        except EchoplaneError as error:
            raise UpError(_lines_of(error)) from error
        if door is not None:
            await self._ask(door, calls)
        self.say_line("")
        self.say_line("Try it:")
        for what, command in next_calls(calls):
            self.say_line("")
            self.say_line(f"# {what}")
            self.say_line(command)

    def _tell_engines(self, status: diagnostics.GetStatusResponse) -> None:
        there = [f"{engine.kind} ({engine.version})" for engine in status.engines if engine.configured]
        self.say(f"engines: {', '.join(there) or 'none'}")
        for problem in self.prepared.problems:
            self.say(f"not used: {problem}")

    # --- the model ---

    async def _load(self, client: AsyncClient, status: diagnostics.GetStatusResponse) -> str:
        """Load the model that was asked for; return its id, empty where there is none.

        Raises:
            UpError: no engine reads it, or its id is another model's.
            EchoplaneError: it could not be loaded.
        """
        found = self.prepared.model
        if found is None:
            return ""
        model_id = found.model_id
        if not model_id:
            raise UpError(f"{found.path.name!r:.200} makes no model id: `echoplane load ID {found.path}` gives it one")
        uri = f"file:{found.path}"
        if any(model.name == model_name(model_id) for model in status.models) and await _serves(client, model_id, uri):
            self.say(f"{model_id} is loaded already")
            return model_id
        engine = _engine_for(found, status)
        began_s = self.clock()
        context = await self._context(client, uri, engine)
        request = models_pb2.LoadModelRequest(
            model_id=model_id, source_uri=uri, engine=engine, context_length=context, max_concurrency=MAX_CONCURRENCY,
            engine_options=_options(engine),
        )  # fmt: skip
        self.say(f"loading {found.path} as {model_id}, by {engine}, with {context or 'all'} tokens of context")
        operation = await client.load_model(request)
        await client.wait(operation, on_progress=self._progress())
        self.say(f"{model_id} is ready: loaded in {self.clock() - began_s:.1f} s")
        return model_id

    async def _context(self, client: AsyncClient, uri: str, engine: str) -> int:
        """Return the context for a first try, at most what the model allows.

        A cache of all that fits would take the machine.
        """
        request = planning_pb2.PlanModelRequest(source_uri=uri, engine=engine, max_concurrency=MAX_CONCURRENCY)
        plan = await client.plan_model(request)
        return min(plan.context_length, MAX_CONTEXT)

    def _progress(self) -> Callable[[operations_pb2.OperationMetadata], None]:
        """Return what tells each phase of a load once, and why it waits."""
        seen: set[tuple[int, str]] = set()

        def tell(metadata: operations_pb2.OperationMetadata) -> None:
            key = (metadata.phase, metadata.waiting_reason)
            if key in seen or not metadata.phase:
                return
            seen.add(key)
            phase = operations_pb2.OperationPhase.Name(metadata.phase).removeprefix("OPERATION_PHASE_").lower()
            waits = f", waits: {metadata.waiting_reason}" if metadata.waiting_reason else ""
            self.say(f"    {phase.replace('_', ' ')}{waits}")

        return tell

    def _tell_no_model(self, address: str) -> None:
        others = self.prepared.others
        if others:
            self.say(f"{len(others)} models are beneath {self.prepared.models_dir}; load one:")
            for one in others[:5]:
                self.say_line(f"          {shlex.join([_program('echoplaned'), 'up', str(one.path)])}")
            return
        where = self.prepared.models_dir
        self.say(f"no model is loaded: put a GGUF file or a checkpoint into {where}, and name it:")
        self.say_line(f"          {_program('echoplaned')} up {shlex.quote(str(where))}/MODEL")

    # --- the gateway ---

    async def _wait_for_door(self, client: AsyncClient) -> Door | None:
        """Return the gateway once it serves; None where it is off, or does not come."""
        deadline_s = self.clock() + _DOOR_S
        while True:
            gateway = (await client.get_status()).gateway
            if not gateway.listen_address:
                return None
            if gateway.state == diagnostics.GATEWAY_STATE_SERVING:
                is_tls = gateway.HasField("certificate_expire_time")
                self.say(f"the gateway serves {'HTTPS' if is_tls else 'HTTP'} at {gateway.listen_address}")
                if is_tls:
                    return await self._find_tls_door(gateway.listen_address)
                return Door.plain(gateway.listen_address)
            if self.clock() > deadline_s:
                why = gateway.last_failure or f"it did not serve within {_DOOR_S:g} s"
                self.say(f"the gateway does not serve: {why} (`echoplane status`)")
                return None
            await asyncio.sleep(_POLL_S)

    async def _find_tls_door(self, listening: str) -> Door:
        """Return the gateway once it shakes hands.

        Its certificate is on its way to Envoy for a moment.
        """
        deadline_s = self.clock() + _DOOR_S
        while True:
            try:
                return await find_tls_door(listening, self.tls_dir)
            except OSError as error:
                if self.clock() > deadline_s:
                    return Door.unbelieved(listening, str(error) or "no answer")
            await asyncio.sleep(_POLL_S)

    async def _calls_of(self, client: AsyncClient, model_id: str, address: str, door: Door | None) -> NextCalls:
        model = await client.get_model(model_id)
        version = await client.get_version(model.serving_version)
        task = types_pb2.Task.Name(version.facts.task).removeprefix("TASK_")
        return NextCalls(
            model_id,
            task,
            address,
            is_default_control=address == os.environ.get("ECHOPLANE_ADDRESS", DEFAULT_ADDRESS),
            door=door.url if door is not None else "",
            ca_file=str(door.ca_file or "") if door is not None else "",
            resolve=door.resolve if door is not None else "",
            python=_program("python3"),
            echoplane=_program("echoplane"),
            avoid_proxy=any(os.environ.get(name) for name in _PROXIES),
        )

    async def _with_key(self, calls: NextCalls) -> NextCalls:
        """Make the first key, and have the calls carry it."""
        key = await asyncio.to_thread(make_first_key, self.state_dir)
        if not key:
            return calls
        self.say("a key for everything was made; the lines below show it, this once (`echoplane key ls` lists keys)")
        return replace(calls, headers={"Authorization": f"Bearer {key}"})

    async def _ask(self, door: Door, calls: NextCalls) -> None:
        """Ask the model once, so that what is printed is known to work.

        Not where the gateway's certificate is not believed: somebody else could get the key.
        """
        if door.problem:
            self.say(
                f"the model is not asked: nothing here verifies the gateway's certificate ({door.problem}); callers need its CA"
            )
            return
        deadline_s = self.clock() + _ANSWER_S
        said = "nothing"
        while self.clock() < deadline_s:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    status, body = await post_json(door, calls.path, calls.headers, calls.body)
            except (OSError, TimeoutError) as error:
                said = str(error)
                if isinstance(error, ssl.SSLCertVerificationError):
                    break
            else:
                if status == 200:
                    self.say(f"first answer: {_answer_text(calls, body)}")
                    return
                said = f"HTTP {status} {body[:_SHOWN].decode('utf-8', 'replace')}"
                # A new route, or a new key, is on its way to Envoy for a moment.
                if status not in {401, 404, 503} or (status == _UNKNOWN_KEY and not calls.headers):
                    break
            await asyncio.sleep(_POLL_S)
        self.say(f"the gateway gave no answer of {calls.model}: {said}")


def _first_serving(status: diagnostics.GetStatusResponse) -> str:
    """Return the id of the first model that answers; empty: none does."""
    found = (one.name for one in status.models if one.serving_version and one.ready_instance_count)
    return short(next(found, ""))


async def _serves(client: AsyncClient, model_id: str, uri: str) -> bool:
    """Say whether a model serves this source.

    Raises:
        UpError: it serves another one.
    """
    model = await client.get_model(model_id)
    if not model.serving_version:
        return False
    version = await client.get_version(model.serving_version)
    if version.source.uri != uri:
        raise UpError(
            f"{model_id} serves {version.source.uri} already: `echoplane update {model_id} {uri} --engine {version.engine.kind}` rolls"
            " this one out, and `echoplane load ID PATH` gives it an id of its own"
        )
    return version.state in {models_pb2.VERSION_STATE_READY, models_pb2.VERSION_STATE_SERVING}


def _engine_for(found: FoundModel, status: diagnostics.GetStatusResponse) -> str:
    """Return the first engine that is there and reads the model's format.

    Raises:
        UpError: there is none.
    """
    reading = [engine for engine in status.engines if found.format in engine.formats]
    there = next((engine.kind for engine in reading if engine.configured), "")
    if not there:
        needed = "; ".join(f"{engine.kind}: {engine.problem}" for engine in reading)
        raise UpError(f"no engine here reads {found.path} ({found.format}). {needed}")
    return there


def _options(engine: str) -> dict[str, str]:
    """Return options of an engine: half of the cores, as others are in use."""
    kind = find_kind(engine)
    if kind is None or not kind.threads_option:
        return {}
    return {kind.threads_option: str(max(1, min(16, len(os.sched_getaffinity(0)) // 2)))}


def _answer_text(calls: NextCalls, body: bytes) -> str:
    if calls.task in {EMBEDDING, CLASSIFICATION}:
        return f"{len(body)} bytes of JSON"
    try:
        return repr(json.loads(body)["choices"][0]["message"]["content"].strip()[:_SHOWN])
    except (ValueError, LookupError, AttributeError, TypeError):
        return f"{len(body)} bytes"


def _lines_of(error: EchoplaneError) -> str:
    """Return a failure with its fields and its advice, in one text."""
    failure = error.failure
    details = [f"{one.field}: {one.description}" for one in failure.field_violations]
    parts = [f"{error.reason}: {failure.message}" if error.reason else failure.message, *details]
    return "; ".join([*parts, *([f"what to do: {error.advice}"] if error.advice else [])])


def _program(name: str) -> str:
    """Return how to type a program of this environment.

    By its name alone where the shell finds that very one.
    """
    own = Path(sys.executable).parent / name
    found = shutil.which(name)
    return str(own) if own.exists() and (found is None or Path(found) != own) else name
