"""Triton's clients, unchanged, with the daemon as their repository behind the gateway: over HTTP and over gRPC."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.hostile import hostile_door as d

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def door() -> Iterator[d.DoorTarget]:
    """A gateway with checkpoints beneath a root, and nothing loaded."""
    with d.door_target() as target:
        yield target


def test_http(door: d.DoorTarget) -> None:
    """The server is live; a directory is listed, loads by its name, answers, goes, and comes back; errors have Triton's form."""
    keyed = {"authorization": f"Bearer {door.make_key()}"}
    triton = pytest.importorskip("tritonclient.http", reason="the package tritonclient[http] is not installed")
    with triton.InferenceServerClient(door.listening, network_timeout=300.0, connection_timeout=300.0) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.get_server_metadata()["name"] == "echoplaned"
        states = {each["name"]: each["state"] for each in client.get_model_repository_index()}
        assert states == {"chatting": "UNAVAILABLE", "encoder": "UNAVAILABLE", "plain": "UNAVAILABLE"}
        with pytest.raises(triton.InferenceServerException, match="without a key"):
            client.load_model("encoder")
        client.unload_model("encoder", headers=keyed)
        client.load_model("encoder", headers=keyed)
        assert client.is_model_ready("encoder")
        listed = {each["name"]: each for each in client.get_model_repository_index()}
        assert listed["encoder"]["state"] == "READY"
        with pytest.raises(triton.InferenceServerException, match="goes by this name") as caught:
            client.load_model("nobody", headers=keyed)
        assert caught.value.status() == "400"
        with pytest.raises(triton.InferenceServerException, match="is not known"):
            client.load_model("encoder", headers=keyed, config="{}")
        client.unload_model("encoder", headers=keyed)
        gone = {each["name"]: each for each in client.get_model_repository_index()}
        assert (gone["encoder"]["state"], gone["encoder"]["reason"]) == ("UNAVAILABLE", "unloaded")
        assert gone["encoder"]["version"] == listed["encoder"]["version"]


def test_pages_and_parameters_are_refused(door: d.DoorTarget) -> None:
    """No web page loads a model, whatever it sends; a parameter is no other name for a path's variable; no other path is taken."""
    load = "/v2/repository/models/encoder/load"
    before = door.ask("POST", "/v2/repository/index", b"").json()
    refused: dict[str, Any] = {
        "a page": door.ask("POST", load, b"{}", origin="https://page.example", content_type="text/plain"),
        "a parameter": door.ask("POST", f"{load}?name=plain", b"{}"),
        "a field": door.ask("POST", load, {"parameter": {}}),
        "twice": door.ask("POST", load, b'{"parameters":{},"parameters":{}}'),
        "a list": door.ask("POST", load, []),
        "a float": door.ask("POST", load, {"parameters": {"context_length": 1.5}}),
    }
    for what, answer in refused.items():
        assert (answer.status, answer.json().keys()) == (400, {"error"}), (what, answer)
    for method, path in (
        ("GET", load),
        ("POST", "/v2/repository/nothing"),
        ("DELETE", "/v2/health/live"),
        ("POST", "/v2/repository/models//load"),
    ):
        answer = door.ask(method, path)
        assert (answer.status, answer.json().keys()) == (404, {"error"}), (method, path, answer)
    assert door.ask("POST", "/v2/repository/index", b"").json() == before
    ready = door.ask("POST", "/v2/repository/index", {"ready": True})
    assert (ready.status, ready.json()) == (200, [])


GRPC = """
import json, sys
import tritonclient.grpc as triton

keyed = {"authorization": f"Bearer {sys.argv[2]}"}
with triton.InferenceServerClient(sys.argv[1]) as client:
    assert client.is_server_live() and client.is_server_ready()
    assert client.get_server_metadata().name == "echoplaned"
    client.load_model("encoder", headers=keyed)
    assert client.is_model_ready("encoder")
    states = {each.name: each.state for each in client.get_model_repository_index().models}
    client.unload_model("encoder", headers=keyed)
    client.unload_model("encoder", headers=keyed)
    reasons = {each.name: each.reason for each in client.get_model_repository_index().models}
    try:
        client.load_model("nobody", headers=keyed)
    except triton.InferenceServerException as error:
        print(json.dumps([states["encoder"], reasons["encoder"], error.status()]))
"""


def test_grpc(door: d.DoorTarget) -> None:
    """The same over gRPC, in a process of its own: its messages and ours have the same names, and a process has one of each."""
    pytest.importorskip("tritonclient", reason="the package tritonclient is not installed")
    line = [sys.executable, "-c", GRPC, door.listening, door.make_key()]
    ran = subprocess.run(line, capture_output=True, text=True, timeout=400, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == ["READY", "unloaded", "StatusCode.INVALID_ARGUMENT"]
