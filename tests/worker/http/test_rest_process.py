"""The Open Inference Protocol's REST form of a real worker: tensors as JSON and as binary data, errors, and what else is asked."""

from __future__ import annotations

import json
import struct
from typing import Any

import httpx2
import numpy as np
import pytest

from tests.worker.live import LiveWorker, rows, score_request, text_request, texts

pytestmark = pytest.mark.system

INFER = "/v2/models/m/infer"
LENGTH = "inference-header-content-length"


def text_input(*lines: str) -> dict[str, Any]:
    """Return a tensor of texts."""
    return {"name": "text", "shape": [len(lines)], "datatype": "BYTES", "data": list(lines)}


def outputs(answer: httpx2.Response) -> dict[str, dict[str, Any]]:
    """Return an answer's outputs by name."""
    assert answer.status_code == 200, answer.text
    return {one["name"]: one for one in answer.json()["outputs"]}


def binary_outputs(answer: httpx2.Response) -> dict[str, bytes]:
    """Return an answer's outputs by name, each as its bytes."""
    assert answer.headers["content-type"] == "application/octet-stream"
    size = int(answer.headers[LENGTH])
    at, found = size, {}
    for one in json.loads(answer.content[:size])["outputs"]:
        length = one["parameters"]["binary_data_size"]
        found[one["name"]] = answer.content[at : at + length]
        at += length
    assert at == len(answer.content)
    return found


def test_json_tensors_answer_as_grpc_does(chatting: LiveWorker, http: httpx2.Client) -> None:
    """Texts, token ids and log-probabilities are those of gRPC; ids may be nested or flat; a version may be named."""
    over_grpc = chatting.oip.ModelInfer(text_request("The river", "Bread", max_tokens=5))
    body = {"id": "r1", "inputs": [text_input("The river", "Bread")], "parameters": {"max_tokens": 5}}
    answer = http.post("/v2/models/m/versions/v1/infer", json=body)
    found = outputs(answer)
    assert (answer.json()["id"], answer.json()["model_version"], answer.headers["x-model-version"]) == (
        "r1",
        "v1",
        "v1",
    )
    assert found["text"]["data"] == texts(over_grpc)
    assert found["token_ids"]["shape"] == [2, 5]
    assert found["token_ids"]["data"] == [int(one) for row in rows(over_grpc, "token_ids") for one in row]
    assert found["logprobs"]["data"] == pytest.approx([one for row in rows(over_grpc, "logprobs") for one in row])
    tensor = {"name": "input_ids", "shape": [2, 2], "datatype": "INT64"}
    nested = http.post(
        INFER, json={"inputs": [{**tensor, "data": [[5, 6], [7, 8]]}], "outputs": [{"name": "token_ids"}]}
    )
    flat = http.post(INFER, json={"inputs": [{**tensor, "data": [5, 6, 7, 8]}]})
    assert list(outputs(nested)) == ["token_ids"]
    assert outputs(nested)["token_ids"] == outputs(flat)["token_ids"]


def test_binary_tensors_both_ways(chatting: LiveWorker, http: httpx2.Client) -> None:
    """Data behind the JSON, in and out; an output may choose its own form, and JSON tensors may stand beside binary ones."""
    over_grpc = chatting.oip.ModelInfer(text_request("The river", max_tokens=4))
    text = b"The river"
    raw = struct.pack("<I", len(text)) + text
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"max_tokens": 4, "binary_data_output": True}}).encode()
    answer = http.post(INFER, content=head + raw, headers={LENGTH: str(len(head))})
    found = binary_outputs(answer)
    assert found["text"][4:].decode() == texts(over_grpc)[0]
    assert np.frombuffer(found["token_ids"], "<i8").tolist() == list(rows(over_grpc, "token_ids")[0])
    assert np.frombuffer(found["logprobs"], "<f4").tolist() == pytest.approx(rows(over_grpc, "logprobs")[0])
    ids = np.array([[5, 6, 0]], "<i8").tobytes()
    mixed = [
        {"name": "input_ids", "shape": [1, 3], "datatype": "INT64", "parameters": {"binary_data_size": len(ids)}},
        {"name": "attention_mask", "shape": [1, 3], "datatype": "INT64", "data": [[1, 1, 0]]},
    ]
    head = json.dumps(
        {"inputs": mixed, "outputs": [{"name": "token_ids", "parameters": {"binary_data": False}}]}
    ).encode()
    masked = http.post(INFER, content=head + ids, headers={LENGTH: str(len(head))})
    plain = http.post(
        INFER, json={"inputs": [{"name": "input_ids", "shape": [1, 2], "datatype": "INT64", "data": [5, 6]}]}
    )
    assert outputs(masked)["token_ids"] == outputs(plain)["token_ids"]


def test_scoring_and_embedding(chatting: LiveWorker, http: httpx2.Client, embedding: LiveWorker) -> None:
    """What gRPC scores and embeds, REST does as well."""
    scored = outputs(http.post(INFER, json={"inputs": [text_input("The river rises")], "parameters": {"score": True}}))
    over_grpc = rows(chatting.oip.ModelInfer(score_request("The river rises")), "logprobs")[0]
    assert scored["logprobs"]["data"] == pytest.approx(over_grpc, abs=1e-5)
    with embedding.http() as other:
        vector = outputs(other.post(INFER, json={"inputs": [text_input("the river")]}))["embedding"]
    expected = rows(embedding.oip.ModelInfer(text_request("the river")), "embedding")[0]
    assert (vector["datatype"], vector["shape"]) == ("FP32", [1, len(expected)])
    assert vector["data"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"inputs": []}, 400, "inputs"),
        ({"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [1]}]}, 400, "must hold texts"),
        ({"inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["x"]}]}, 400, "its shape says 2"),
        (
            {"inputs": [{"name": "input_ids", "shape": [1, 1], "datatype": "INT64", "data": [True]}]},
            400,
            "whole numbers",
        ),
        ({"inputs": [{"name": "input_ids", "shape": [1, 1], "datatype": "INT64", "data": [2**63]}]}, 400, "64 bits"),
        ({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}, 400, "datatype"),
        (
            {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 9}}]},
            400,
            "bytes",
        ),
        ({"inputs": [text_input(*"abcde")]}, 400, "max_concurrency"),
        ({"parameters": {"max_tokns": 3}}, 400, "max_tokns"),
        ({"parameters": {"max_tokens": [3]}}, 400, "parameters.max_tokens"),
        ({"parameters": {"distributions": "FP32"}}, 403, "daemon"),
        ({"outputs": [{"name": "nothing"}]}, 400, "nothing"),
        ({"outputs": [{"name": "text", "parameters": {"classification": 3}}]}, 400, "classification"),
        ({"surplus": 1}, 400, "surplus"),
    ],
)
def test_what_is_refused(http: httpx2.Client, changes: dict[str, Any], status: int, says: str) -> None:
    """Errors have the protocol's form, and say which field."""
    answer = http.post(INFER, json={"inputs": [text_input("x")], **changes})
    assert (answer.status_code, list(answer.json())) == (status, ["error"]), answer.text
    assert says in answer.json()["error"]


@pytest.mark.parametrize("length", [b"\xb2", b"1\xb2", b"9" * 5000, b"-1", b"1_0", b"", b"100000"])
def test_lengths_that_are_none(chatting: LiveWorker, http: httpx2.Client, length: bytes) -> None:
    """A header that is no length of a part of the body is the caller's error, whatever Python takes for a digit."""
    before = chatting.report()
    body = json.dumps({"inputs": [text_input("x")]}).encode()
    answer = http.post(INFER, content=body, headers=[(LENGTH.encode(), length)])
    assert answer.status_code == 400, answer.text
    assert "Inference-Header-Content-Length" in answer.json()["error"]
    after = chatting.report()
    assert after.client_error_count - before.client_error_count == 1
    assert after.server_error_count == before.server_error_count


def test_health_metadata_and_listing(http: httpx2.Client) -> None:
    """The process lives, the model is ready, and says what it takes; another model or version is not found."""
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True}
    assert http.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert http.get("/v2/models/m/ready").status_code == http.get("/v2/models/m/versions/v1/ready").status_code == 200
    metadata = http.get("/v2/models/m").json()
    assert (metadata["name"], metadata["versions"]) == ("m", ["v1"])
    assert [one["name"] for one in metadata["outputs"]] == ["text", "token_ids", "logprobs"]
    for path in ("/v2/models/other/ready", "/v2/models/m/versions/v2", "/v2/models/m/config", "/v2/models", "/v2/x"):
        assert http.get(path).status_code == 404, path
    assert http.post("/v2/models/other/infer", json={"inputs": [text_input("x")]}).status_code == 404
    assert [one["id"] for one in http.get("/v1/models").json()["data"]] == ["m"]
    assert http.get("/v1/models/m").json()["object"] == "model"
    assert http.get("/v1/models/other").json()["error"]["code"] == "model_not_found"
    refused = http.put(INFER)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
