"""The composition root: what it wires, and its three commands."""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import generate_latest

from echoplane import AsyncClient, ClientOptions, RetryPolicy
from echoplane.channels import DIRECT_OPTIONS
from echoplane.errors import EchoplaneError
from echoplane.v1 import models_pb2
from echoplaned import __main__ as root
from echoplaned import composition, serving
from echoplaned.core.commands import LoadVersion, Request
from echoplaned.core.events import Recovered
from echoplaned.core.queries import owned_engines
from echoplaned.engine_kinds import installed
from echoplaned.gateway.listening import AddressTakenError
from echoplaned.runtime.clock import boot_moments
from echoplaned.runtime.ids import new_id
from echoplaned.settings import Settings, load_settings
from echoplaned.store import SqlStore, StateDirLock, prepare_state_dir
from echoplaned.store.evidence_files import EvidenceFiles
from echoplaned.testing import builders
from echoplaned.testing.checkpoints import make_encoder
from echoplaned.testing.daemon import free_port
from echoplaned.worker_contract.record import WorkerPhase, WorkerRecord, read_boot_id, read_start_ticks, records_dir
from tests.engines.engine_bench import is_running

SERVICES = {
    "echoplane.v1.ModelService",
    "echoplane.v1.RolloutService",
    "echoplane.v1.PlanningService",
    "echoplane.v1.StatusService",
    "google.longrunning.Operations",
    "grpc.health.v1.Health",
    "inference.GRPCInferenceService",
    "envoy.service.discovery.v3.AggregatedDiscoveryService",
    "envoy.service.load_stats.v3.LoadReportingService",
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the caller's own ``ECHOPLANE_*`` variables out, and this process's log as it is."""
    for name in list(os.environ):
        if name.startswith("ECHOPLANE_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(root, "configure_logging", lambda _level: None)


def settings_for(state_dir: Path, **more: object) -> Settings:
    """Return the settings of a daemon that starts no engine by itself."""
    listen = f"127.0.0.1:{free_port()}"
    return load_settings(
        {"listen": listen, "state_dir": state_dir, "standby_workers": 0, "shutdown_grace_s": 0, **more}
    )


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[composition.Daemon]:
    """Assemble a daemon over a real store and run it in this process."""
    settings.state_dir.mkdir(mode=0o700, exist_ok=True)
    with closing(SqlStore.open(settings.state_dir)) as store:
        daemon = composition.assemble(settings, store)
        task = asyncio.create_task(serving.run(daemon))
        try:
            yield daemon
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def client_of(settings: Settings) -> AsyncClient:
    """Return a client that says the first answer."""
    return AsyncClient(str(settings.listen), ClientOptions(retry=RetryPolicy(max_attempts=1)))


async def wait_until_serving(channel: grpc.aio.Channel) -> None:
    """Wait until the daemon's health is SERVING."""
    check = health_pb2_grpc.HealthStub(channel).Check
    answer = await check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_everything_is_on_the_port(tmp_path: Path) -> None:
    """A daemon over an empty store serves every service, has a device, and counts what was called."""
    settings = settings_for(tmp_path / "state")
    async with running(settings) as daemon, grpc.aio.insecure_channel(str(settings.listen), DIRECT_OPTIONS) as channel:
        await wait_until_serving(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([ask]))
        answers = [answer async for answer in call]
        assert {service.name for service in answers[0].list_services_response.service} >= SERVICES
        assert daemon.loop.state.devices
        async with client_of(settings) as client:
            status = await client.get_status()
        assert status.HasField("start_time")
        counted = generate_latest(daemon.metrics.registry).decode()
        assert 'method="GetStatus"' in counted or "GetStatus" in counted


async def test_doors_plan_with_the_real_allocator(tmp_path: Path) -> None:
    """What the settings say of roots and memory reaches a caller as a typed refusal, and nothing was changed by it."""
    make_encoder(tmp_path / "models/encoder")
    settings = settings_for(
        tmp_path / "state", model_roots=(tmp_path / "models",), host_memory_bytes=256 * builders.MIB
    )
    async with running(settings) as daemon, grpc.aio.insecure_channel(str(settings.listen), DIRECT_OPTIONS) as channel:
        await wait_until_serving(channel)
        async with client_of(settings) as client:
            load = models_pb2.LoadModelRequest(model_id="m", version_id="v1", max_concurrency=4096)
            for uri, reason in (("file:gone", "SOURCE_NOT_FOUND"), ("file:encoder", "MEMORY_INSUFFICIENT")):
                load.source_uri = uri
                with pytest.raises(EchoplaneError) as caught:
                    await client.load_model(load)
                assert caught.value.reason == reason
        assert daemon.loop.state.models == {}


async def test_a_state_is_read_and_only_its_evidence_stays(tmp_path: Path) -> None:
    """A daemon begins with what the store has; evidence of rollouts that are over is removed."""
    settings = settings_for(tmp_path)
    with closing(SqlStore.open(tmp_path)) as store:
        old = store.load()
        state = builders.run(builders.empty_state(), LoadVersion(Request(0.0, "o1"), builders.order()))
        store.commit(old, state, ())
        EvidenceFiles(tmp_path).save("r-over", b"evidence")
        daemon = composition.assemble(settings, store)
        assert set(daemon.loop.state.models) == {"m"}
        assert EvidenceFiles(tmp_path).load("r-over") is None
        assert owned_engines(daemon.loop.state) == {
            (instance.key, instance.generation) for instance in daemon.loop.state.models["m"].versions["v1"].instances
        }
        await daemon.server.stop(None)
        await daemon.loop.close()


async def test_a_taken_address_is_said(tmp_path: Path) -> None:
    """A second daemon on the address ends with an error that names it, before it touches an engine."""
    settings = settings_for(tmp_path / "one")
    async with running(settings), grpc.aio.insecure_channel(str(settings.listen), DIRECT_OPTIONS) as channel:
        await wait_until_serving(channel)
        other = settings.model_copy(update={"state_dir": tmp_path / "two"})
        other.state_dir.mkdir(mode=0o700)
        with closing(SqlStore.open(other.state_dir)) as store:
            daemon = composition.assemble(other, store)
            with pytest.raises(serving.ListenError, match=str(settings.listen)):
                await serving.run(daemon)
            await daemon.loop.close()


async def test_a_gateways_taken_address_is_said_before_a_worker_is_started(tmp_path: Path) -> None:
    """A daemon that does not come up leaves no engine: a standby worker went on without it, for good."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        settings = settings_for(tmp_path / "s", standby_workers=1, gateway_listen=taken)
        settings.state_dir.mkdir(mode=0o700)
        with closing(SqlStore.open(settings.state_dir)) as store:
            daemon = composition.assemble(settings, store)
            with pytest.raises(AddressTakenError, match=taken):
                await serving.run(daemon)
            assert daemon.loop.event_count == 0
            assert not list(records_dir(settings.state_dir).glob("*.json"))
            await daemon.loop.close()


def test_ids_sort_by_time_and_differ() -> None:
    """Ids are lower-case base 32 of one length; of two, the later one is the greater, and a thousand differ."""
    first = new_id()
    ids = [new_id() for _ in range(1000)]
    assert len({first, *ids}) == 1001
    assert {len(each) for each in ids} == {17}
    assert all(each[:9] >= first[:9] for each in ids)
    assert set("".join(ids)) <= set("0123456789abcdefghjkmnpqrstvwxyz")


async def test_a_clock_that_was_set_while_it_was_away_is_noticed(tmp_path: Path) -> None:
    """Within one boot the daemon knows by how much the wall was put forward, and moves its stored times as much."""
    offset = tmp_path / "offset"
    settings = settings_for(tmp_path / "state", test_wall_offset_file=offset)
    settings.state_dir.mkdir(mode=0o700)
    offset.write_text("0")
    clock = composition.steady_clock(settings)
    with closing(SqlStore.open(settings.state_dir, now=boot_moments(clock))) as store:
        state = builders.run(builders.empty_state(), LoadVersion(Request(clock(), "o1"), builders.order()))
        store.commit(store.load(), state, ())
        for ahead_s in (3600.0, -3600.0):
            offset.write_text(str(ahead_s))
            daemon = composition.assemble(settings, store)
            assert daemon.clock_shift_s == pytest.approx(ahead_s, abs=60.0)
            started_s = daemon.loop.state.models["m"].versions["v1"].load_started_s
            await daemon.loop.handle(Recovered(daemon.clock(), (), daemon.clock_shift_s))
            moved_s = daemon.loop.state.models["m"].versions["v1"].load_started_s
            assert moved_s - started_s == pytest.approx(daemon.clock_shift_s)
            await daemon.server.stop(None)
            await daemon.loop.close()


def test_an_empty_database_beside_workers_is_no_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Code 1 with the workers' names, and they go on."""
    state_dir = _prepared(tmp_path)
    words = [sys.executable, "-c", "input()", "--worker-id", "w1", "--state-dir", str(state_dir)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True) as worker:
        ticks = read_start_ticks(worker.pid)
        assert ticks is not None
        record = WorkerRecord("w1", worker.pid, ticks, read_boot_id(), WorkerPhase.READY, "", "m/v1#0", 1, "torch", 2)
        records_dir(state_dir).mkdir()
        (records_dir(state_dir) / "w1.json").write_text(record.to_json())
        assert root.main(["serve", "--state-dir", str(state_dir), "--listen", f"127.0.0.1:{free_port()}"]) == 1
        assert worker.poll() is None
        worker.communicate(b"\n")
    said = capsys.readouterr().err
    assert f"w1 (process {worker.pid}, m/v1#0)" in said
    assert "--sweep-unowned" in said


def test_check_says_every_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``check`` prints what the daemon would run with, and warns of what it could not do."""
    assert root.main(["check", "--state-dir", str(tmp_path / "state"), "--standby-workers", "3"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert {line.partition(":")[0] for line in said} >= set(Settings.model_fields)
    assert "standby_workers: 3" in said
    assert any(line.startswith("device host:") for line in said)
    assert any("no --model-root" in line for line in said)


def test_check_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that is not installed has a line with the command, and a host without any is warned of."""
    monkeypatch.setattr(installed, "find_spec", lambda _module: None)
    assert root.main(["check", "--state-dir", str(tmp_path / "state")]) == 0
    said = capsys.readouterr().out
    assert "engine torch: none, torch, transformers" in said
    assert "run `pip install 'echoplaned[torch]'`" in said
    assert "warning: no engine can be started here" in said


def test_wrong_settings_are_all_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Code 2, and a line for each setting that is wrong."""
    assert root.main(["serve", "--listen", "everywhere", "--standby-workers", "-1"]) == 2
    said = capsys.readouterr().err
    assert "--listen" in said
    assert "--standby-workers" in said


def test_a_state_directory_of_a_running_daemon_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``stop-engines`` beside the daemon that owns them ends with 1 and stops nothing."""
    with StateDirLock(root_dir := _prepared(tmp_path)):
        assert root.main(["stop-engines", "--state-dir", str(root_dir)]) == 1
    assert str(os.getpid()) in capsys.readouterr().err


def _prepared(tmp_path: Path) -> Path:
    state_dir = tmp_path / "state"
    prepare_state_dir(state_dir)
    return state_dir


@pytest.fixture
def left_over(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that a daemon left behind; without torch, but with a worker's record and arguments."""
    state_dir = _prepared(tmp_path)
    (state_dir / "tiny").write_text("ready")
    command = [sys.executable, str(Path(__file__).parent / "engines/contract_1_worker.py"), "echoplaned.worker"]
    process = subprocess.Popen(
        [*command, "--worker-id", "w1", "--state-dir", str(state_dir)], start_new_session=True, stdout=subprocess.PIPE
    )
    yield process
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def test_engines_that_were_left_are_ended(
    tmp_path: Path, left_over: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """``stop-engines`` ends every worker of the state directory, and says how many."""
    assert root.main(["stop-engines", "--state-dir", str(tmp_path / "state")]) == 0
    assert capsys.readouterr().out.endswith("1 engines ended\n")
    assert not is_running(left_over.pid)


def test_an_engine_that_is_not_there_is_told_before_a_port_is_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, with what was looked for and the flag; one that is there is named with its build by ``check``."""
    state = ["--state-dir", str(tmp_path / "state")]
    for command in ("check", "serve"):
        assert root.main([command, *state, "--engine", "llama_cpp=/nonexistent"]) == 2
        said = capsys.readouterr().err
        assert "there is no llama-server at '/nonexistent'" in said
        assert "--engine" in said
    line = f"command={shlex.quote(sys.executable)} {{model}} {{port}}"
    assert root.main(["check", *state, "--engine", line]) == 0
    assert "engine command: (" in capsys.readouterr().out


def test_the_gateways_envoy_is_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``check`` names its version; a missing one is told with what to install, and a path without room for sockets too."""
    flags = ["--state-dir", str(tmp_path / "s"), "--gateway-listen", "127.0.0.1:8480"]
    assert root.main(["check", *flags]) == 0
    assert "gateway: Envoy 1." in capsys.readouterr().out
    long = ["--state-dir", str(tmp_path / ("x" * 100)), "--gateway-listen", "127.0.0.1:8480"]
    assert root.main(["check", *long]) == 2
    assert "move --state-dir" in capsys.readouterr().err
    monkeypatch.setattr("echoplaned.gateway.binary.shutil.which", lambda *_args, **_more: None)
    for command in ("check", "serve"):
        assert root.main([command, *flags]) == 2
        assert "echoplaned[gateway]" in capsys.readouterr().err
