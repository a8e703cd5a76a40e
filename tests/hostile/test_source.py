"""A checkpoint that changes under a version that is served: its answers stay, and no engine starts with other content."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import grpc
import pytest

from echoplane.channels import DIRECT_OPTIONS
from echoplane.errors import EchoplaneError, from_status
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.v1 import models_pb2
from tests.e2e import e2e_system as e
from tests.worker.live import rows, text_request

WEIGHTS = "model.safetensors"
TEXTS = ("the river", "bread and salt")


def answers(address: str, model: str) -> list[tuple[float, ...]]:
    """Ask one instance for the vectors of two texts."""
    with grpc.insecure_channel(address, DIRECT_OPTIONS) as channel:
        response = oip_grpc.GRPCInferenceServiceStub(channel).ModelInfer(text_request(*TEXTS, model=model), timeout=30)
        return rows(response, "embedding")


def served(system: e.System, name: str) -> models_pb2.ModelVersion:
    """Return a version, which has an instance that answers."""
    version = system.client.get_version(name)
    assert any(instance.address for instance in version.instances)
    return version


def failure_reason(system: e.System, name: str) -> str:
    """Return the reason of a version's failure; empty where it has none."""
    status = system.client.get_version(name).failure
    return from_status(status).reason if status.code else ""


def own_copy(system: e.System, name: str) -> Path:
    """Copy the encoder under a name of the test's own."""
    out = system.made.root / name
    shutil.copytree(system.made.path("encoder"), out)
    return out


def test_the_file_of_a_served_version_is_overwritten_and_cut(own_system: e.MakeSystem) -> None:
    """Its answers stay the same to the bit; killed, it is not started with other weights; put back, it serves again."""
    system = own_system()
    source, other = own_copy(system, "attacked"), system.made.path("better")
    original = (source / WEIGHTS).read_bytes()
    system.finish(
        system.client.load_model(models_pb2.LoadModelRequest(model_id="m", version_id="v1", source_uri="file:attacked"))
    )
    instance = served(system, "m/v1").instances[0]
    before = answers(instance.address, "m")

    with (source / WEIGHTS).open("r+b") as file:  # as `cp new old` writes: the same inode
        file.write((other / WEIGHTS).read_bytes())
    assert answers(instance.address, "m") == before
    os.truncate(source / WEIGHTS, 100)
    assert answers(instance.address, "m") == before
    assert system.client.get_version("m/v1").instances[0].pid == instance.pid

    os.kill(instance.pid, signal.SIGKILL)
    e.eventually(lambda: failure_reason(system, "m/v1") == "SOURCE_CHANGED", 60.0, "the version to say so")
    failed = system.client.get_version("m/v1")
    assert WEIGHTS in failed.failure.message
    e.eventually(lambda: not system.client.get_version("m/v1").instances, 60.0, "its end")
    e.pause(3.0)
    assert list(system.client.get_version("m/v1").instances) == []  # it is final: nothing is tried again

    (source / WEIGHTS).write_bytes(original)
    system.finish(
        system.client.load_model(models_pb2.LoadModelRequest(model_id="m", version_id="v1", source_uri="file:attacked"))
    )
    assert answers(served(system, "m/v1").instances[0].address, "m") == before
    assert failure_reason(system, "m/v1") == ""


def test_one_of_two_instances_is_lost_after_a_change(own_system: e.MakeSystem) -> None:
    """It is not started again, which the version says; the other one serves on, and so does the model."""
    system = own_system()
    source = own_copy(system, "halved")
    request = models_pb2.LoadModelRequest(model_id="m", version_id="v1", source_uri="file:halved", replicas=2)
    system.finish(system.client.load_model(request))
    first, second = served(system, "m/v1").instances
    before = answers(second.address, "m")

    outside = system.made.root.parent / "outside-of-every-root"
    shutil.copytree(system.made.path("better"), outside)
    shutil.rmtree(source)
    source.symlink_to(outside)
    os.kill(first.pid, signal.SIGKILL)
    e.eventually(lambda: failure_reason(system, "m/v1") == "SOURCE_CHANGED", 60.0, "the version to say so")
    e.eventually(lambda: len(system.client.get_version("m/v1").instances) == 1, 30.0, "one instance")
    assert answers(second.address, "m") == before
    assert served(system, "m/v1").state == models_pb2.VERSION_STATE_READY
    with pytest.raises(EchoplaneError) as caught:
        system.client.load_model(models_pb2.LoadModelRequest(model_id="m", version_id="v2", source_uri="file:halved"))
    assert caught.value.reason == "SOURCE_NOT_ALLOWED"
