"""The generated code is what the protos say, and the protos say everything that a caller needs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.api import annotations_pb2
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pb2

from echoplane.inference import grpc_service_pb2
from echoplane.v1 import diagnostics_pb2, keys_pb2, models_pb2, planning_pb2, rollouts_pb2

ROOT = Path(__file__).resolve().parents[2]
GENERATE = ROOT / "proto" / "generate.py"
API = "/api/v1/model_serving"
ROUTES = {
    ("ModelService", "LoadModel"): ("post", f"{API}/load", "*"),
    ("ModelService", "UpdateModel"): ("post", f"{API}/update", "*"),
    ("ModelService", "DeleteModel"): ("delete", f"{API}/models/{{name}}", ""),
    ("ModelService", "GetModel"): ("get", f"{API}/models/{{name}}", ""),
    ("ModelService", "ListModels"): ("get", f"{API}/models", ""),
    ("ModelService", "CheckModelHealth"): ("post", f"{API}/health_check/{{name}}", "*"),
    ("ModelService", "GetModelHealth"): ("get", f"{API}/health/{{name}}", ""),
    ("StatusService", "GetStatus"): ("get", f"{API}/status", ""),
    ("StatusService", "GetMetrics"): ("get", f"{API}/metrics", ""),
    ("StatusService", "GetHealth"): ("get", "/health", ""),
}
METHODS = {
    "ModelService": (
        "LoadModel UpdateModel DeleteModel GetModel ListModels ConfigureModel GetModelVersion ListModelVersions "
        "DeleteModelVersion SetModelVersionTier CheckModelHealth GetModelHealth"
    ),
    "RolloutService": ("GetRollout ListRollouts WatchRollout PauseRollout ResumeRollout AbortRollout PromoteRollout"),
    "PlanningService": "PlanModel BatchPlanModels ListDevices GetReservoirParameters",
    "KeyService": "CreateKey ListKeys RevokeKey",
    "StatusService": "GetStatus GetMetrics GetUsage Explain WatchEvents GetHealth",
}
FILES = (models_pb2, rollouts_pb2, planning_pb2, diagnostics_pb2, keys_pb2)


def load_generator() -> ModuleType:
    """Import proto/generate.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("echoplane_generate", GENERATE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> descriptor_pb2.FileDescriptorSet:
    """The protos of the API with their comments, as the generator's protoc reads them."""
    generator = load_generator()
    out = tmp_path_factory.mktemp("descriptors")
    generator.protoc(
        generator.environment_python(),
        out,
        generator.relative(("echoplane/v1/*.proto", "echoplane/worker/v1/*.proto")),
        ("--include_source_info", "--descriptor_set_out=all.binpb"),
    )
    return descriptor_pb2.FileDescriptorSet.FromString((out / "all.binpb").read_bytes())


def service_methods() -> Iterator[tuple[str, Any]]:
    """Every method of the API with its service's name."""
    for module in FILES:
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield service.name, method


@pytest.mark.long
@pytest.mark.timeout(400)
def test_generated_code_is_up_to_date() -> None:
    """Generating again gives, byte for byte, what is checked in."""
    done = subprocess.run([sys.executable, GENERATE, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.timeout(400)
def test_everything_has_a_comment(described: descriptor_pb2.FileDescriptorSet) -> None:
    """Every message, field, enum, value, service and method of ours carries a comment."""
    missing = []
    for file in described.file:
        comments = {tuple(place.path): place.leading_comments.strip() for place in file.source_code_info.location}
        missing += [f"{file.name}: {name}" for name, path in elements(file) if not comments.get(path)]
    assert missing == []
    assert len(described.file) == 9


def elements(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and source path of everything in a file that wants a comment."""
    for index, message in enumerate(file.message_type):
        yield from message_elements(message, (4, index))
    for index, enum in enumerate(file.enum_type):
        yield from enum_elements(enum, (5, index))
    for index, service in enumerate(file.service):
        yield service.name, (6, index)
        for number, method in enumerate(service.method):
            yield f"{service.name}.{method.name}", (6, index, 2, number)


def message_elements(
    message: descriptor_pb2.DescriptorProto, path: tuple[int, ...]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and source path of a message, its fields and what is nested in it; map entries are protoc's own."""
    yield message.name, path
    for index, field in enumerate(message.field):
        yield f"{message.name}.{field.name}", (*path, 2, index)
    for index, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from message_elements(nested, (*path, 3, index))
    for index, enum in enumerate(message.enum_type):
        yield from enum_elements(enum, (*path, 4, index))


def enum_elements(
    enum: descriptor_pb2.EnumDescriptorProto, path: tuple[int, ...]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and source path of an enum and its values."""
    yield enum.name, path
    for index, value in enumerate(enum.value):
        yield f"{enum.name}.{value.name}", (*path, 2, index)


def test_services_have_the_fixed_methods() -> None:
    """The four services have the methods that people's scripts depend on, and no others."""
    found: dict[str, list[str]] = {}
    for service, method in service_methods():
        found.setdefault(service, []).append(method.name)
    assert found == {service: names.split() for service, names in METHODS.items()}


def test_the_ten_routes_are_annotated() -> None:
    """The ten routes of the original system, and only they, are annotated."""
    found = {}
    for service, method in service_methods():
        options = method.GetOptions()
        if options.HasExtension(annotations_pb2.http):
            rule = options.Extensions[annotations_pb2.http]
            verb = rule.WhichOneof("pattern")
            found[service, method.name] = (verb, getattr(rule, verb), rule.body)
    assert found == ROUTES


def test_long_running_methods_say_what_they_return() -> None:
    """Every method that returns an operation names its response and its metadata, and these messages exist."""
    annotated = []
    for _, method in service_methods():
        if method.output_type.full_name != "google.longrunning.Operation":
            continue
        info = method.GetOptions().Extensions[operations_pb2.operation_info]
        assert info.metadata_type == "OperationMetadata"
        assert info.response_type in {"Model", "ModelVersion", "google.protobuf.Empty"}
        annotated.append(method.name)
    assert annotated == ["LoadModel", "UpdateModel", "DeleteModel", "DeleteModelVersion", "SetModelVersionTier"]


def test_inference_fields_are_those_of_triton() -> None:
    """Every field and method of the inference service is exactly Triton's (`triton_fields.txt`, read from tritonclient 2.73)."""
    lines = (Path(__file__).parent / "triton_fields.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(inference_lines()) == sorted(lines)


def inference_lines() -> Iterator[str]:
    """Our inference service in the form of `triton_fields.txt`."""
    for message in grpc_service_pb2.DESCRIPTOR.message_types_by_name.values():
        yield from field_lines(message)
    for service in grpc_service_pb2.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            types = f"{method.input_type.full_name} {method.output_type.full_name}"
            yield f"rpc {method.full_name} {types} {method.client_streaming} {method.server_streaming}"


def field_lines(message: Any) -> Iterator[str]:
    """A message's fields, and those of the messages nested in it."""
    for field in message.fields:
        kind = field.message_type.full_name if field.message_type is not None else field.type
        repeated = "repeated" if field.is_repeated else "singular"
        oneof = field.containing_oneof.name if field.containing_oneof else "-"
        yield f"{message.full_name} {field.number} {field.name} {repeated} {kind} {oneof}"
    for nested in message.nested_types:
        yield from field_lines(nested)
