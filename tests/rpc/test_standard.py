"""The standard services: health, reflection in both versions, channelz, and Triton's repository extension."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.v1 import models_pb2
from echoplaned.core.engine_events import EngineLost
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.rpc.deps import RpcLimits
from echoplaned.rpc.reflection import V1, V1ALPHA
from echoplaned.rpc.server import CHANNELZ, OUR_SERVICES, build_server
from echoplaned.rpc.services import build_services

from .world import MakeWorld, World, failed

CODE = grpc.StatusCode
Health = health_pb2.HealthCheckRequest
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


async def test_health_check(world: World) -> None:
    """The empty name, each of our services and each model have a status; another name is NOT_FOUND."""
    await world.load("fp32")
    for name in ("", "echoplane.v1.ModelService", "google.longrunning.Operations", "models/minilm"):
        assert (await world.stubs.health.Check(Health(service=name))).status == SERVING
    for name in ("models/nobody", "nobody", "minilm"):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await world.stubs.health.Check(Health(service=name))
        assert raised.value.code() is CODE.NOT_FOUND


async def test_health_list(world: World) -> None:
    """List has every name with its status."""
    world.script.start = False
    await world.load("fp32")
    statuses = (await world.stubs.health.List(health_pb2.HealthListRequest())).statuses
    assert set(statuses) >= {"", "models/minilm", *OUR_SERVICES}
    assert statuses["models/minilm"].status == NOT_SERVING
    assert statuses[""].status == SERVING


async def test_health_watch_follows_the_state(world: World) -> None:
    """Watch of a model that comes and goes: unknown, not serving, serving, and so on; each change once."""
    call = world.stubs.health.Watch(Health(service="models/minilm"))
    seen = [(await call.read()).status]
    world.script.start = False
    await world.load("fp32")
    seen.append((await call.read()).status)
    key = InstanceKey(VersionKey("minilm", "fp32"), 0)
    world.script.start = True
    world.handle.emit(EngineLost(world.handle.now_s(), key, 1, "killed while it started"))
    world.handle.advance(60)
    seen.append((await call.read()).status)
    world.lifecycle.begin_stop()
    seen.append((await call.read()).status)
    assert seen == [UNKNOWN, NOT_SERVING, SERVING, NOT_SERVING]


async def test_health_streams_of_all_servers_are_counted_together() -> None:
    """The daemon serves on TCP and on its socket: a bound for each would be twice what is documented."""
    world = World()
    deps = world.deps()
    deps = replace(deps, limits=replace(deps.limits, max_health_watchers=2))
    services = build_services(deps)
    servers = [build_server(deps, services=services) for _ in range(2)]
    async with contextlib.AsyncExitStack() as stack:
        calls = []
        for server in servers:
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            stack.push_async_callback(server.stop, None)
            channel = await stack.enter_async_context(
                grpc.aio.insecure_channel(f"127.0.0.1:{port}", (("grpc.enable_http_proxy", 0),))
            )
            calls.append(health_pb2_grpc.HealthStub(channel).Watch)
        first = calls[0](Health(service=""))
        await first.read()
        second = calls[1](Health(service=""))
        await second.read()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await calls[0](Health(service="")).read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        first.cancel()


async def test_reflection_of_one_connection_is_bounded(make_world: MakeWorld) -> None:
    """A connection has half of the streams: one more is refused, and says why; those that are open go on."""
    world = await make_world(RpcLimits(max_request_streams=40))
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    calls = [reflect(world, V1)() for _ in range(20)]
    for call in calls:
        await call.write(ask)
        assert (await call.read()).list_services_response.service
    found = await failed(reflect(world, V1)([ask]).read(), Reason.LIMIT_EXCEEDED, CODE.RESOURCE_EXHAUSTED)
    assert "one may hold 20" in found.message
    await calls[0].write(ask)
    assert (await calls[0].read()).list_services_response.service
    for call in calls:
        await call.done_writing()
        assert await call.code() is CODE.OK


def reflect(world: World, service: str) -> Any:
    """Return the reflection method of a version."""
    return world.stubs.channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )


@pytest.mark.parametrize("version", [V1, V1ALPHA])
async def test_reflection_lists_every_service(world: World, version: str) -> None:
    """Both versions list ours, the standard ones, and reflection itself."""
    call = reflect(world, version)([reflection_pb2.ServerReflectionRequest(list_services="")])
    async for answer in call:
        names = {service.name for service in answer.list_services_response.service}
    assert names == {*OUR_SERVICES, V1, V1ALPHA}
    assert {
        "echoplane.v1.ModelService",
        "echoplane.v1.RolloutService",
        "echoplane.v1.PlanningService",
        "echoplane.v1.StatusService",
        "google.longrunning.Operations",
        "grpc.health.v1.Health",
        "inference.GRPCInferenceService",
    } <= names


@pytest.mark.parametrize("version", [V1, V1ALPHA])
async def test_reflection_describes_every_service(world: World, version: str) -> None:
    """Every listed service can be described, with every file that its file needs."""
    asked = [
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in (*OUR_SERVICES, V1, V1ALPHA)
    ]
    found = 0
    async for answer in reflect(world, version)(asked):
        assert answer.HasField("file_descriptor_response"), answer
        files = [
            descriptor_pb2.FileDescriptorProto.FromString(raw)
            for raw in answer.file_descriptor_response.file_descriptor_proto
        ]
        names = {file.name for file in files}
        assert all(set(file.dependency) <= names for file in files)
        symbol = answer.original_request.file_containing_symbol
        assert symbol in {f"{file.package}.{service.name}" for file in files for service in file.service}
        found += 1
    assert found == len(asked)


async def test_channelz_is_served_only_if_asked_for(world: World) -> None:
    """By default nobody is told of the other connections; where it is switched on, channelz knows this server."""
    stub = channelz_pb2_grpc.ChannelzStub(world.stubs.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetServers(channelz_pb2.GetServersRequest())
    assert caught.value.code() is CODE.UNIMPLEMENTED
    closed = world.stubs.channel
    open_server = await world.start(channelz=True)
    stub = channelz_pb2_grpc.ChannelzStub(world.stubs.channel)
    assert len((await stub.GetServers(channelz_pb2.GetServersRequest())).server) >= 1
    call = reflect(world, V1)([reflection_pb2.ServerReflectionRequest(list_services="")])
    async for answer in call:
        assert CHANNELZ in {service.name for service in answer.list_services_response.service}
    await world.stubs.channel.close(None)
    await open_server.stop(None)
    await closed.close(None)


def parameter(value: str | int) -> oip.ModelRepositoryParameter:
    """Return a parameter as Triton's clients write it."""
    if isinstance(value, int):
        return oip.ModelRepositoryParameter(int64_param=value)
    return oip.ModelRepositoryParameter(string_param=value)


def loading(model: str = "minilm", **parameters: str | int) -> oip.RepositoryModelLoadRequest:
    """Return the request to load a model."""
    given = {name: parameter(value) for name, value in parameters.items()}
    return oip.RepositoryModelLoadRequest(model_name=model, parameters=given)


async def test_repository(world: World) -> None:
    """Triton's clients load, see, and unload a model; each call answers when it is done."""
    service = world.stubs.oip
    await service.RepositoryModelLoad(loading(source_uri="file:fp32", version_id="fp32", dtype="FP16", replicas=2))
    version = world.handle.state.models["minilm"].versions["fp32"]
    assert (version.spec.shape.dtype.value, version.spec.shape.replicas) == ("FP16", 2)
    index = await service.RepositoryIndex(oip.RepositoryIndexRequest(ready=True))
    assert [(m.name, m.version, m.state) for m in index.models] == [("minilm", "fp32", "READY")]
    assert (await service.ModelReady(oip.ModelReadyRequest(name="minilm"))).ready
    described = await service.ModelMetadata(oip.ModelMetadataRequest(name="minilm"))
    assert [t.name for t in described.inputs] == ["text"]
    await service.RepositoryModelUnload(oip.RepositoryModelUnloadRequest(model_name="minilm"))
    assert not world.handle.state.models


async def test_repository_loads_again(world: World) -> None:
    """Without a source a known version is loaded as it was; an unknown one needs its source."""
    service = world.stubs.oip
    await service.RepositoryModelLoad(loading(source_uri="file:fp32", version_id="fp32", max_concurrency=3))
    await service.RepositoryModelLoad(loading())
    assert world.handle.state.models["minilm"].versions["fp32"].cache.hits == 1
    found = await failed(service.RepositoryModelLoad(loading("bert")), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {'parameters["source_uri"]'}


async def test_repository_unloads_one_version(world: World) -> None:
    """With ``version_id`` one version is unloaded, the model stays."""
    await world.load("fp32")
    await world.load("int8")
    request = oip.RepositoryModelUnloadRequest(model_name="minilm", parameters={"version_id": parameter("int8")})
    await world.stubs.oip.RepositoryModelUnload(request)
    assert set(world.handle.state.models["minilm"].versions) == {"fp32"}


@pytest.mark.parametrize(
    "value",
    [
        oip.ModelRepositoryParameter(int64_param=8),
        oip.ModelRepositoryParameter(bool_param=True),
        oip.ModelRepositoryParameter(bytes_param=b"int8"),
        oip.ModelRepositoryParameter(string_param=""),
        oip.ModelRepositoryParameter(),
    ],
)
async def test_repository_unloads_nothing_by_a_version_that_it_cannot_read(
    world: World, value: oip.ModelRepositoryParameter
) -> None:
    """A number (as Triton's versions are), an empty text: it is refused, and neither one version nor all of them go."""
    await world.load("fp32")
    request = oip.RepositoryModelUnloadRequest(model_name="minilm", parameters={"version_id": value})
    call = world.stubs.oip.RepositoryModelUnload(request)
    found = await failed(call, Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {'parameters["version_id"]'}
    assert set(world.handle.state.models["minilm"].versions) == {"fp32"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("version_id", 2), ("source_uri", 3), ("dtype", 16), ("replicas", "2"), ("context_length", "128")],
)
async def test_repository_loads_nothing_by_parameters_of_another_kind(
    world: World, name: str, value: str | int
) -> None:
    """They would read as nothing: another version, one replica."""
    given: dict[str, str | int] = {"source_uri": "file:fp32", name: value}
    parameters = {each: parameter(text) for each, text in given.items()}
    request = oip.RepositoryModelLoadRequest(model_name="minilm", parameters=parameters)
    call = world.stubs.oip.RepositoryModelLoad(request)
    found = await failed(call, Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {f'parameters["{name}"]'}
    assert not world.handle.state.models


async def test_repository_errors(world: World) -> None:
    """Wrong parameters are named; a load that fails says why in the call itself."""
    service = world.stubs.oip
    wrong = loading(source_uri="file:fp32", config="{}", dtype="INT4")
    found = await failed(service.RepositoryModelLoad(wrong), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)
    assert found.fields == {'parameters["config"]'}
    found = await failed(
        service.RepositoryModelLoad(loading("A/b", source_uri="file:fp32")), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT
    )
    assert found.fields == {"model_id"}
    world.script.start_failure = FailureDetail(Reason.ENGINE_START_FAILED, "no tokenizer")
    call = service.RepositoryModelLoad(loading(source_uri="file:fp32"))
    found = await failed(call, Reason.ENGINE_START_FAILED, CODE.FAILED_PRECONDITION)
    assert found.message == "no tokenizer"
    call = service.RepositoryIndex(oip.RepositoryIndexRequest(repository_name="other"))
    await failed(call, Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)


async def index(world: World, *, ready: bool = False) -> dict[str, tuple[str, str, str]]:
    """Return version, state and reason of what the repository lists, by name."""
    found = (await world.stubs.oip.RepositoryIndex(oip.RepositoryIndexRequest(ready=ready))).models
    return {each.name: (each.version, each.state, each.reason) for each in found}


async def test_repository_lists_what_could_be_loaded(world: World) -> None:
    """Checkpoints beneath the roots are there by the id that a load would propose, and load by it, by their name, and by their path."""
    world.planning.sources = ("deep/fp32", "hub/models--Org--int8", "wide", "other/wide", "123")
    assert await index(world, ready=True) == {}
    assert await index(world) == {
        "fp32": ("", "UNAVAILABLE", "not loaded: file:deep/fp32"),
        "int8": ("", "UNAVAILABLE", "not loaded: file:hub/models--Org--int8"),
        "wide": ("", "UNAVAILABLE", "not loaded: file:wide"),
    }
    world.planning.checkpoints["models--Org--int8"] = world.planning.checkpoints["int8"]
    service = world.stubs.oip
    for name in ("fp32", "hub/Org/int8", "wide"):
        await service.RepositoryModelLoad(loading(name))
    models = world.handle.state.models
    assert {each.model_id: each.aliases for each in models.values()} == {
        "fp32": ("deep/fp32",),
        "int8": ("hub/Org/int8",),
        "wide": (),
    }
    assert {state for _, state, _ in (await index(world)).values()} == {"READY"}
    await service.RepositoryModelLoad(loading("hub/Org/int8"))
    assert len(models) == 3
    await failed(service.RepositoryModelLoad(loading("123")), Reason.FIELD_INVALID, CODE.INVALID_ARGUMENT)


async def test_repository_brings_back_what_it_unloaded(world: World) -> None:
    """An unloaded model is listed, and its name loads it as it was; what is not there has gone already."""
    service = world.stubs.oip
    await service.RepositoryModelLoad(
        loading(source_uri="file:fp32", version_id="fp32", dtype="FP16", max_concurrency=3)
    )
    await world.stubs.models.ConfigureModel(
        models_pb2.ConfigureModelRequest(
            name="minilm",
            aliases=["Org/Mini"],
            labels={"team": "a"},
            pinned=True,
            update_mask={"paths": ["aliases", "labels", "pinned"]},
        )
    )
    before = world.handle.state.models["minilm"]
    for name in ("Org/Mini", "minilm", "nobody"):
        await service.RepositoryModelUnload(oip.RepositoryModelUnloadRequest(model_name=name))
    assert not world.handle.state.models
    assert await index(world) == {"minilm": ("fp32", "UNAVAILABLE", "unloaded")}
    await service.RepositoryModelLoad(loading("Org/Mini"))
    after = world.handle.state.models["minilm"]
    assert (after.aliases, after.labels) == (before.aliases, before.labels)
    assert after.versions["fp32"].spec == before.versions["fp32"].spec
    assert after.versions["fp32"].pinned
    missing = oip.RepositoryModelUnloadRequest(model_name="minilm", parameters={"version_id": parameter("v9")})
    await service.RepositoryModelUnload(missing)
    assert "minilm" in world.handle.state.models


async def test_no_inference_on_the_daemon(world: World) -> None:
    """Inference on the daemon's address says where to go; the server itself is live and ready."""
    service = world.stubs.oip
    call = service.ModelInfer(oip.ModelInferRequest(model_name="minilm"))
    found = await failed(call, Reason.NOT_IMPLEMENTED, CODE.UNIMPLEMENTED)
    assert "xds:///models/minilm" in found.message
    assert (await service.ServerLive(oip.ServerLiveRequest())).live
    assert (await service.ServerReady(oip.ServerReadyRequest())).ready
    assert "model_repository" in (await service.ServerMetadata(oip.ServerMetadataRequest())).extensions
