"""The gateway's chain and routes in the real Envoy: which requests reach which version, and every error in its caller's shape."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
from collections import Counter
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2

from echoplane.channels import DIRECT_OPTIONS
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inference import grpc_service_pb2_grpc as oip_grpc
from echoplane.v1 import models_pb2
from echoplaned.ports.transcoding import TranscodedServices
from tests.gateway.gateway_stage import CHAT, TOTAL, Answer, GatewayStage, gateway_stage

pytestmark = pytest.mark.system


async def told(stage: GatewayStage, body: object, path: str = CHAT) -> tuple[int, str]:
    """Ask; return the status and OpenAI's error code."""
    answer = await stage.ask("POST", path, body)
    return answer.status, answer.json()["error"]["code"]


async def test_bodies_choose_the_model() -> None:
    """The field `model` decides, by id and alias; what names none gets OpenAI's error, whatever else is wrong with it."""
    async with gateway_stage() as stage:
        answer = await stage.chat()
        assert (answer.status, answer.json()["model"]) == (200, "v1")
        assert answer.headers["x-model-version"] == "v1"
        assert answer.headers["server"] == "echoplane"
        assert not [name for name in answer.headers if name.startswith("x-envoy")]
        await stage.shift(0, aliases=("Org/Model-7B",))
        assert (await stage.chat("Org/Model-7B")).status == 200
        assert await told(stage, {"model": 'no"body\n'}) == (404, "model_not_found")
        for body in (b"not json", b"{}", b'["m"]', gzip.compress(b'{"model": "m"}'), b"[" * 100_000):
            assert await told(stage, body) == (400, "model_required"), body[:20]
        assert await told(stage, {"model": 7}) == (404, "model_not_found")
        assert await told(stage, b'{"model": "nobody", "model": "m"}') == (400, "model_required")
        large = json.dumps({"model": "m", "x": "y" * (8 << 20)}).encode()
        assert (await stage.ask("POST", CHAT, large)).status == 200
        # A little above the bound: of a much larger one the rest is not read, and its caller may see a reset and no answer.
        above = large * 2 + b" " * 1000
        assert await told(stage, above) == (413, "body_too_large")
        assert (await stage.ask("POST", "/v1/x/%2e%2e/chat%2Fcompletions", {"model": "m"})).status == 200
        assert (await stage.ask("POST", "/v1/../nothing", {"model": "m"})).status == 404


async def test_callers_choose_nothing_by_headers() -> None:
    """Headers that only the gateway sets are gone before anything is read: they choose no model, and no engine sees them."""
    async with gateway_stage() as stage:
        forged = {"echoplane-model": "m", "x-echoplane-conversation": "c", "x-envoy-max-retries": "9"}
        forged["x-echoplane-connection"] = "somebody:1"
        refused = await stage.ask("POST", CHAT, b"{}", forged)
        assert (refused.status, refused.json()["error"]["code"]) == (400, "model_required")
        other = await stage.ask("POST", CHAT, {"model": "nobody"}, forged)
        assert other.status == 404
        assert stage.engines[0].calls == 0
        assert (await stage.ask("POST", CHAT, {"model": "m", "user": "u"}, forged)).status == 200
        seen = stage.engines[0].headers
        ours = {name: value for name, value in seen.items() if name.startswith(("echoplane-", "x-echoplane-"))}
        connection = ours.pop("x-echoplane-connection", "")
        assert re.fullmatch(r"127\.0\.0\.1:\d+", connection), "the caller's end of its connection, not what it wrote"
        assert ours == {"echoplane-model": "m", "x-echoplane-client": "anonymous"}, (
            "what it was routed by, and who it was"
        )


async def test_paths_choose_the_model_of_oip() -> None:
    """The name in a REST path counts, not one in the body; what is not there is an error as that protocol writes it."""
    async with gateway_stage() as stage:
        assert (await stage.ask("POST", "/v2/models/m/infer", {"model": "nobody"})).status == 200
        assert (await stage.ask("GET", "/v2/models/m?x=1")).status == 200
        missing = await stage.ask("POST", "/v2/models/mm/infer", {"model": "m"})
        assert (missing.status, missing.json()) == (404, {"error": "model 'mm' does not exist"})
        for path in ("/v2/models", "/v2/other/m"):
            answer = await stage.ask("POST", path, {"model": "m"})
            assert (answer.status, set(answer.json())) == (404, {"error"}), answer
        nowhere = await stage.ask("POST", "/elsewhere", {"model": "m"})
        assert (nowhere.status, nowhere.json()["code"]) == (404, 5)


class Inference:
    """Answers with its name, one answer a request."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.metadata: list[str] = []

    async def infer(self, request: Any, context: Any) -> Any:
        """Answer one."""
        self.metadata = [name for name, _ in context.invocation_metadata()]
        return oip.ModelInferResponse(model_name=request.model_name, model_version=self.name)

    async def infer_stream(self, requests: Any, _context: Any) -> Any:
        """Answer each."""
        async for request in requests:
            answer = oip.ModelInferResponse(model_name=request.model_name, model_version=self.name)
            yield oip.ModelStreamInferResponse(infer_response=answer)


@contextlib.asynccontextmanager
async def inference(name: str) -> Any:
    """Serve OIP over gRPC."""
    servicer, server = Inference(name), grpc.aio.server()
    read, write = oip.ModelInferRequest.FromString, oip.ModelInferResponse.SerializeToString
    methods = {
        "ModelInfer": grpc.unary_unary_rpc_method_handler(servicer.infer, read, write),
        "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(
            servicer.infer_stream, read, oip.ModelStreamInferResponse.SerializeToString
        ),
    }
    handler = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield servicer, f"127.0.0.1:{port}"
    finally:
        await server.stop(0.5)


async def test_grpc_goes_by_model_name() -> None:
    """OIP over gRPC needs no metadata: the request's own field decides, for a stream its first message; NOT_FOUND for others."""
    async with inference("v1") as (servicer, address), gateway_stage() as stage:
        stage.oip = (address, stage.oip[1])
        await stage.shift(0)
        async with grpc.aio.insecure_channel(stage.options.listening, DIRECT_OPTIONS) as channel:
            stub = cast(Any, oip_grpc.GRPCInferenceServiceStub(channel))
            forged = (("echoplane-model", "nobody"),)
            big = oip.ModelInferRequest(model_name="m", raw_input_contents=[b"x" * (3 << 20)])
            for request in (oip.ModelInferRequest(model_name="m"), big):
                answer = await stub.ModelInfer(request, metadata=forged, timeout=20)
                assert (answer.model_name, answer.model_version) == ("m", "v1")
            assert [name for name in servicer.metadata if name.startswith("echoplane-")] == ["echoplane-model"]
            stream = stub.ModelStreamInfer(timeout=20)
            for _ in range(3):
                await stream.write(oip.ModelInferRequest(model_name="m"))
                assert (await stream.read()).infer_response.model_version == "v1"
            await stream.done_writing()
            for name in ("nobody", ""):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.ModelInfer(oip.ModelInferRequest(model_name=name), metadata=(("echoplane-model", "m"),))
                assert caught.value.code() is grpc.StatusCode.NOT_FOUND, caught.value
            await stage.shift(TOTAL)


async def test_weights_and_conversations() -> None:
    """Requests follow the weights; a conversation stays with its version, by the header or the body's user, and moves one way only."""
    async with gateway_stage() as stage:

        async def by_user(user: str) -> str:
            answer = await stage.ask("POST", CHAT, {"model": "m", "user": user})
            return str(answer.json()["model"])

        async def by_header(name: str) -> str:
            headers = {"x-conversation-id": name}
            answer = await stage.ask("POST", CHAT, {"model": "m", "user": "same"}, headers)
            return str(answer.json()["model"])

        await stage.shift(TOTAL // 4)
        shares = Counter([(await stage.chat()).json()["model"] for _ in range(200)])
        assert 24 < shares["v2"] < 80, shares  # 50, with three standard deviations of 6 and a little
        names = [f"c{index}" for index in range(30)]
        users, headers = {n: await by_user(n) for n in names}, {n: await by_header(n) for n in names}
        assert set(users.values()) == set(headers.values()) == {"v1", "v2"}
        assert users == {n: await by_user(n) for n in names}
        assert headers == {n: await by_header(n) for n in names}
        await stage.shift(TOTAL // 2)
        later = {n: await by_header(n) for n in names}
        assert all(later[n] == "v2" for n in names if headers[n] == "v2"), (headers, later)


async def test_without_an_engine() -> None:
    """While no engine answers it is 503 with when to come back, as OpenAI and as OIP write it; the access log says what it was."""
    async with gateway_stage() as stage:
        gone = stage.routes(0)
        empty = ("127.0.0.1:1",)
        stage.engines[0].address, stage.oip = f"{empty[0]}", (empty[0], stage.oip[1])
        await stage.shift(0)
        assert gone.epoch < stage.epoch
        answer = await stage.chat()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert (answer.json()["error"]["code"], answer.headers["x-model-version"]) == ("model_unavailable", "v1")
        other = await stage.ask("POST", "/v2/models/m/infer", {})
        assert (other.status, set(other.json())) == (503, {"error"})
        async with asyncio.timeout(10.0):
            while len(lines := stage.access_lines()) < 2:
                await asyncio.sleep(0.1)
        assert (lines[0]["status"], lines[0]["cluster"]) == (503, "models/m/versions/v1/openai")


async def test_streams_come_chunk_by_chunk() -> None:
    """A chunk arrives before the engine writes the next, and a stream outlives the shift of its route."""
    async with gateway_stage() as stage:
        asking = asyncio.create_task(stage.ask("POST", CHAT, {"model": "m", "stream": True}))
        while stage.engines[0].calls == 0:
            await asyncio.sleep(0.02)
        await stage.shift(TOTAL)
        for _ in range(2):
            stage.engines[0].gate.release()
        answer = await asking
        assert answer.status == 200
        assert [json.loads(line[6:])["index"] for line in answer.body.decode().split("\n\n") if line] == [0, 1, 2]


def listing() -> tuple[TranscodedServices, Any]:
    """Return a small REST service: ListModels as it is annotated, answered with what it was asked."""

    async def list_models(request: Any, context: Any) -> Any:
        if request.page_size == 7:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such page")
        return models_pb2.ListModelsResponse(next_page_token=f"{request.page_size}")

    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(descriptor: Any) -> None:
        for each in descriptor.dependencies:
            add(each)
        if descriptor.name not in files:
            files[descriptor.name] = descriptor_pb2.FileDescriptorProto()
            descriptor.CopyToProto(files[descriptor.name])

    add(models_pb2.DESCRIPTOR)
    found = descriptor_pb2.FileDescriptorSet(file=files.values()).SerializeToString()
    method = grpc.unary_unary_rpc_method_handler(
        list_models,
        request_deserializer=models_pb2.ListModelsRequest.FromString,
        response_serializer=models_pb2.ListModelsResponse.SerializeToString,
    )
    service = "echoplane.v1.ModelService"
    handler = grpc.method_handlers_generic_handler(service, {"ListModels": method})
    return TranscodedServices(found, (service,), ("/api/v1/model_serving", "/v1/models")), handler


def rest_error(answer: Answer) -> tuple[int, int]:
    """Return an error's status and code; it shows nothing of gRPC."""
    assert not [name for name in answer.headers if name.startswith("grpc-")], answer.headers
    return answer.status, answer.json()["code"]


async def test_rest_goes_to_the_daemon() -> None:
    """REST calls become calls on the gateway's own socket; every error is a google.rpc.Status; models stay reachable beside them."""
    services, handler = listing()
    path = "/api/v1/model_serving/models"
    async with gateway_stage(services, (handler,)) as stage:
        answer = await stage.ask("GET", f"{path}?page_size=3")
        assert (answer.status, answer.json()["next_page_token"]) == (200, "3")
        assert not [name for name in answer.headers if name.startswith("grpc-")], answer.headers
        assert rest_error(await stage.ask("GET", f"{path}?page_size=7")) == (404, 5)
        assert rest_error(await stage.ask("GET", f"{path}?page_size=x")) == (400, 3)
        assert rest_error(await stage.ask("PATCH", f"{path}/x/y/z")) == (404, 5)
        assert (await stage.chat()).status == 200
        assert (await stage.ask("POST", "/v2/models/m/infer", {})).status == 200
