"""A proxy in the environment, as most companies' machines have one: nothing that goes to this machine is sent there."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import e2e_system as e
from tests.e2e.e2e_listener import CountingListener

COMMAND = str(Path(sys.executable).with_name("echoplane"))
VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")

CLIENTS = """
import asyncio, sys
from echoplane import AsyncClient, AsyncInferenceClient, Client, InferenceClient
from echoplane.tensors import Query

address = sys.argv[1]
with Client(address) as client:
    assert "models/proxied" in [model.name for model in client.list_models()]
with InferenceClient("proxied", control=address) as model:
    assert model.infer_texts(["a text"]).version == "v1"

async def main():
    async with AsyncClient(address) as client:
        assert (await client.get_model("proxied")).name == "models/proxied"
    async with AsyncInferenceClient("proxied/v1", control=address) as model:
        assert (await model.infer(Query(texts=["a text"]))).version == "v1"

asyncio.run(main())
"""

# What a service does that has grpcio alone, with the environment that `echoplane bootstrap --export` gives it.
PLAIN = """
import grpc
from echoplane.inference import grpc_service_pb2 as oip, grpc_service_pb2_grpc

options = [("grpc.enable_http_proxy", 0)]
with grpc.insecure_channel("xds:///models/proxied", options) as channel:
    stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
    assert stub.ModelReady(oip.ModelReadyRequest(name="proxied"), timeout=10).ready
"""


@pytest.fixture(scope="module")
def proxied(system: e.System) -> Iterator[e.System]:
    """The shared daemon with one model."""
    system.load("proxied")
    yield system
    system.delete("proxied")


@pytest.fixture
def proxy() -> Iterator[CountingListener]:
    """A proxy that answers nobody and counts who came."""
    with CountingListener() as listener:
        yield listener


def environment(proxy: CountingListener, *names: str, **more: str) -> dict[str, str]:
    """Return the tests' environment with some variables naming the proxy."""
    known = {*VARIABLES, "no_proxy", "no_grpc_proxy", "GRPC_XDS_BOOTSTRAP", "GRPC_XDS_BOOTSTRAP_CONFIG"}
    plain = {name: value for name, value in os.environ.items() if name not in known}
    return {**plain, **dict.fromkeys(names, f"http://127.0.0.1:{proxy.port}"), **more}


def run(variables: dict[str, str], *command: str) -> str:
    """Run a command to its good end; return its output."""
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", VARIABLES)
def test_the_clients_go_straight_to_the_daemon(proxied: e.System, proxy: CountingListener, name: str) -> None:
    """All four clients, two of them over ``xds:///``, with each of the variables that gRPC reads."""
    run(environment(proxy, name), sys.executable, "-c", CLIENTS, proxied.daemon.address)
    assert proxy.count == 0


def test_exceptions_of_the_environment_stay(proxied: e.System, proxy: CountingListener) -> None:
    """With this machine among the exceptions already, as many companies' set-ups have it."""
    variables = environment(proxy, *VARIABLES, no_proxy="localhost,127.0.0.1")
    run(variables, sys.executable, "-c", CLIENTS, proxied.daemon.address)
    assert proxy.count == 0


def test_the_command_goes_straight_to_the_daemon(proxied: e.System, proxy: CountingListener) -> None:
    """A command of the control API, and one that calls the model."""
    variables = environment(proxy, *VARIABLES, ECHOPLANE_ADDRESS=proxied.daemon.address)
    assert "proxied" in run(variables, COMMAND, "ls")
    assert "answered by v1" in run(variables, COMMAND, "infer", "proxied", "a text")
    assert proxy.count == 0


def test_the_printed_bootstrap_is_enough_for_grpc_alone(proxied: e.System, proxy: CountingListener) -> None:
    """``echoplane bootstrap --export`` also exports the exception for the channel that gRPC makes by itself."""
    variables = environment(proxy, *VARIABLES, ECHOPLANE_ADDRESS=proxied.daemon.address)
    script = f'eval "$({shlex.quote(COMMAND)} bootstrap --export)" && exec {shlex.quote(sys.executable)} -c "$0"'
    run(variables, "bash", "-c", script, PLAIN)
    assert proxy.count == 0


def test_a_daemon_with_a_proxy_serves(
    own_system: e.MakeSystem, proxy: CountingListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon, its workers and load generators that inherit the variables do without the proxy as well."""
    for name, value in environment(proxy, *VARIABLES).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("no_grpc_proxy", "")
    system = own_system()
    system.load("m")
    run(dict(os.environ), COMMAND, "infer", "m", "a text", "--address", system.daemon.address)
    assert proxy.count == 0


def test_the_proxy_would_be_asked(proxied: e.System, proxy: CountingListener) -> None:
    """The tests above can fail: a channel without our options goes to the proxy."""
    plain = f"""
import grpc
with grpc.insecure_channel("{proxied.daemon.address}") as channel:
    try:
        grpc.channel_ready_future(channel).result(timeout=2)
    except grpc.FutureTimeoutError:
        pass
"""
    run(environment(proxy, "http_proxy"), sys.executable, "-c", plain)
    assert proxy.count > 0
