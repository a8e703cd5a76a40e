"""The inference client: tensors to lists and back, version trailers, targets and the bootstrap."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import subprocess
import sys
import time
from typing import Any

import grpc
import pytest

from echoplane import AsyncInferenceClient, InferenceClient, bootstrap, errors, install_bootstrap
from echoplane.inference import grpc_service_pb2 as oip
from echoplane.inferring import target_of
from echoplane.tensors import Query, Tensor, build_request, read_answer


def response(**output: Any) -> oip.ModelInferResponse:
    """An answer with one typed output."""
    return oip.ModelInferResponse(model_name="minilm", model_version="fp32", outputs=[output])


EMBEDDING = response(name="embedding", datatype="FP32", shape=[2, 2], contents={"fp32_contents": [1, 2, 3, 4]})


def test_texts_reach_the_model(daemon: Any) -> None:
    """Texts go out as one BYTES tensor; lists and the version of the trailer come back."""
    daemon.on("ModelInfer", EMBEDDING)
    with InferenceClient("models/minilm", target=daemon.address) as client:
        answer = client.infer_texts(["héllo", "you"])
    request = daemon.seen("ModelInfer")[0]
    assert request.model_name == "minilm"
    assert [value.decode() for value in request.inputs[0].contents.bytes_contents] == ["héllo", "you"]
    assert list(request.inputs[0].shape) == [2]
    assert answer.version == "int8"
    values: Any = [[1.0, 2.0], [3.0, 4.0]]
    assert answer.outputs["embedding"] == Tensor("embedding", "FP32", (2, 2), values)


def test_async_client_reaches_the_model(daemon: Any) -> None:
    """The asyncio client does the same."""
    daemon.on("ModelInfer", EMBEDDING)
    daemon.on("ModelReady", oip.ModelReadyResponse(ready=True))

    async def call() -> tuple[Any, bool]:
        async with AsyncInferenceClient("minilm", target=daemon.address) as client:
            return await client.infer(Query(texts=["a", "b"])), await client.ready()

    answer, ready = asyncio.run(call())
    assert (answer.version, ready) == ("int8", True)
    assert answer.outputs["embedding"].values == [[1.0, 2.0], [3.0, 4.0]]


def test_failures_are_errors_and_not_tried_again(daemon: Any, refuse: Any) -> None:
    """A failed inference is raised with its details, after one attempt."""
    daemon.on("ModelInfer", refuse(grpc.StatusCode.UNAVAILABLE, "", "no instance"))
    with InferenceClient("minilm", target=daemon.address) as client, pytest.raises(errors.UnavailableError):
        client.infer_tokens([[1, 2]])
    assert len(daemon.seen("ModelInfer")) == 1


def test_no_time_left_is_no_time(daemon: Any) -> None:
    """A caller that has none left is not given the client's own time."""

    def slow(_: Any) -> oip.ModelReadyResponse:
        time.sleep(0.5)  # the server is what is slow here
        return oip.ModelReadyResponse(ready=True)

    daemon.on("ModelReady", slow)
    daemon.on("ModelInfer", slow)
    with InferenceClient("minilm", target=daemon.address) as client:
        for call in (client.ready, lambda timeout_s: client.infer(Query(texts=["a"]), timeout_s)):
            with pytest.raises(errors.DeadlineError):
                call(timeout_s=0)

    async def call_both() -> None:
        async with AsyncInferenceClient("minilm", target=daemon.address) as client:
            with pytest.raises(errors.DeadlineError):
                await client.ready(timeout_s=0)
            with pytest.raises(errors.DeadlineError):
                await client.infer(Query(texts=["a"]), timeout_s=0)

    asyncio.run(call_both())


def test_token_ids_are_padded_and_masked() -> None:
    """Sequences of unequal length become a rectangle with a mask."""
    request = build_request("m", Query(token_ids=[[5, 6, 7], [8]], version="v"))
    ids, mask = request.inputs
    assert (ids.name, list(ids.shape), list(ids.contents.int64_contents)) == ("input_ids", [2, 3], [5, 6, 7, 8, 0, 0])
    assert (mask.name, list(mask.contents.int64_contents)) == ("attention_mask", [1, 1, 1, 1, 0, 0])
    assert request.model_version == "v"


def test_parameters_keep_their_types() -> None:
    """A truth value, a number and a text are sent as what they are."""
    request = build_request("m", Query(texts=["a"], parameters={"b": True, "i": 3, "f": 0.5, "s": "x"}))
    kinds = {name: value.WhichOneof("parameter_choice") for name, value in request.parameters.items()}
    assert kinds == {"b": "bool_param", "i": "int64_param", "f": "double_param", "s": "string_param"}


@pytest.mark.parametrize(
    ("datatype", "raw", "values"),
    [
        ("FP32", struct.pack("<2f", 0.5, -1.0), [0.5, -1.0]),
        ("FP16", struct.pack("<2e", 0.5, -1.0), [0.5, -1.0]),
        ("INT64", struct.pack("<2q", 1, -2), [1, -2]),
        ("BOOL", b"\x01\x00", [True, False]),
        ("BYTES", b"\x02\x00\x00\x00hi\x01\x00\x00\x00\xff", ["hi", b"\xff"]),
    ],
)
def test_raw_contents_are_read(datatype: str, raw: bytes, values: list[Any]) -> None:
    """Raw little-endian contents become the same lists as typed ones."""
    answer = oip.ModelInferResponse(
        outputs=[{"name": "o", "datatype": datatype, "shape": [2]}], raw_output_contents=[raw]
    )
    assert read_answer(answer).outputs["o"].values == values


@pytest.mark.parametrize(
    "answer",
    [
        response(name="o", datatype="FP32", shape=[3], contents={"fp32_contents": [1]}),
        response(name="o", datatype="FP99", shape=[1]),
        oip.ModelInferResponse(outputs=[{"name": "o", "datatype": "FP32", "shape": [1]}], raw_output_contents=[b"abc"]),
        oip.ModelInferResponse(
            outputs=[{"name": "o", "datatype": "BYTES", "shape": [1]}], raw_output_contents=[b"\x09\0\0\0a"]
        ),
        oip.ModelInferResponse(
            outputs=[{"name": "o", "datatype": "FP32", "shape": [1]}], raw_output_contents=[b"", b""]
        ),
    ],
)
def test_answers_that_disagree_with_themselves_are_refused(answer: oip.ModelInferResponse) -> None:
    """Sizes that do not match and unknown datatypes are a ValueError, never a wrong list."""
    with pytest.raises(ValueError, match=r"elements|datatype|cut short|outputs"):
        read_answer(answer)


@pytest.mark.parametrize("query", [{}, {"texts": ["a"], "token_ids": [[1]]}, {"token_ids": [[]]}])
def test_queries_must_ask_for_one_thing(query: dict[str, Any]) -> None:
    """Nothing, both, or an empty sequence is refused before it is sent."""
    with pytest.raises(ValueError, match="token_ids"):
        Query(**query)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"texts": ["a"], "parameters": {"max_tokens": 2**63}}, "max_tokens .* to 9223372036854775807"),
        ({"token_ids": [[-(2**63) - 1]]}, "a token id .* from -9223372036854775808"),
        ({"texts": ["a", "b\ud800"]}, "text 2 .* at 1: .* UTF-8"),
        ({"texts": ["a"], "parameters": {"stop": "\udcff"}}, "the parameter stop .* UTF-8"),
        ({"texts": ["a"], "parameters": {"\udcff": 1}}, "the name of a parameter .* UTF-8"),
    ],
)
def test_what_no_message_can_hold_is_named(query: dict[str, Any], named: str) -> None:
    """It is refused before it is sent, with what would be taken."""
    with pytest.raises(ValueError, match=named):
        Query(**query)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("a", "--parameter", "max_tokens=99999999999999999999"), "max_tokens"),
        (("a\udcff",), "text 1"),
        (("--token-ids", "99999999999999999999"), "a token id"),
        (("a", "--parameter", "\udcff=1"), "the name of a parameter"),
    ],
)
def test_infer_names_what_cannot_be_sent(daemon: Any, cli: Any, arguments: tuple[str, ...], named: str) -> None:
    """The command blames no answer for it."""
    result = cli("infer", "minilm", *arguments, "--target", daemon.address)
    assert result.exit_code == 2
    assert named in result.stderr
    assert daemon.seen("ModelInfer") == []


def test_infer_takes_lists_within_lists_as_a_text(daemon: Any, cli: Any) -> None:
    """However many: a parameter is a number or a truth value where it is one in JSON, else a text."""
    daemon.on("ModelInfer", EMBEDDING)
    result = cli("infer", "minilm", "a", "--parameter", "x=" + "[" * 100_000, "--target", daemon.address)
    assert result.exit_code == 0, result.output
    assert len(daemon.seen("ModelInfer")[0].parameters["x"].string_param) == 100_000


def test_targets() -> None:
    """Short and full names of models and versions become the names that the listeners have."""
    assert target_of("minilm") == "xds:///models/minilm"
    assert target_of("models/minilm") == "xds:///models/minilm"
    assert target_of("minilm/int8") == "xds:///models/minilm/versions/int8"
    assert target_of("models/minilm/versions/int8") == "xds:///models/minilm/versions/int8"


def test_bootstrap_is_grpcs() -> None:
    """The bootstrap names the daemon, without credentials, speaking version 3, and a node of this process alone."""
    found = bootstrap("127.0.0.1:8470")
    assert found["xds_servers"] == [
        {"server_uri": "127.0.0.1:8470", "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}
    ]
    assert str(os.getpid()) in found["node"]["id"]
    assert found["node"]["id"] != bootstrap("127.0.0.1:8470")["node"]["id"]


def test_bootstrap_is_installed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bootstrap that the process has already is left alone."""
    monkeypatch.delenv("GRPC_XDS_BOOTSTRAP", raising=False)
    monkeypatch.setenv("GRPC_XDS_BOOTSTRAP_CONFIG", "")
    assert install_bootstrap("127.0.0.1:1", node="n")
    assert json.loads(os.environ["GRPC_XDS_BOOTSTRAP_CONFIG"])["node"] == {"id": "n"}
    assert not install_bootstrap("127.0.0.1:2")


def test_control_client_leaves_the_inference_package_alone() -> None:
    """A process that only controls never registers the protobuf package `inference`, which Triton's client would need."""
    program = (
        "import sys, echoplane; echoplane.Client; echoplane.AsyncClient; print('echoplane.inference' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
