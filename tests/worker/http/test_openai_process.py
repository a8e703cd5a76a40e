"""OpenAI's API of a real worker with a real decoder, beside what the same worker answers over gRPC."""

from __future__ import annotations

import json
import struct
import threading
import time
from base64 import b64decode
from typing import Any

import httpx2
import pytest

from echoplane.inference import grpc_service_pb2 as oip
from tests.worker.live import LiveWorker, TraceReader, rows, text_request, texts

pytestmark = pytest.mark.system

COMPLETIONS, CHAT, EMBEDDINGS = "/v1/completions", "/v1/chat/completions", "/v1/embeddings"
HELLO = [{"role": "user", "content": "The river"}]


def complete(http: httpx2.Client, **fields: Any) -> dict[str, Any]:
    """Return a completion, greedy unless it says otherwise."""
    answer = http.post(COMPLETIONS, json={"model": "m", "prompt": "The river", "temperature": 0, **fields})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def events(answer: httpx2.Response) -> list[dict[str, Any]]:
    """Return a stream's events; it ends as OpenAI's do."""
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def until(condition: Any) -> bool:
    """Wait up to ten seconds for something in another process."""
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_greedy_text_is_what_grpc_answers(chatting: LiveWorker, http: httpx2.Client) -> None:
    """The same prompt has the same text, the same log-probabilities and its tokens counted; the version is named."""
    over_grpc = chatting.oip.ModelInfer(text_request("The river", max_tokens=12))
    answer = http.post(
        COMPLETIONS, json={"model": "m", "prompt": "The river", "temperature": 0, "max_tokens": 12, "logprobs": 1}
    )
    assert answer.headers["x-model-version"] == "v1"
    told = answer.json()
    (choice,) = told["choices"]
    assert choice["text"] == texts(over_grpc)[0]
    assert choice["logprobs"]["token_logprobs"] == pytest.approx(rows(over_grpc, "logprobs")[0], abs=1e-5)
    assert choice["finish_reason"] == "length"
    assert told["usage"]["completion_tokens"] == 12
    assert told["usage"]["total_tokens"] == told["usage"]["prompt_tokens"] + 12


def test_log_probabilities_are_what_scoring_says(chatting: LiveWorker, http: httpx2.Client) -> None:
    """Teacher-forced over gRPC, a drawn answer has the log-probabilities that it was told with; a token's own bytes make the text."""
    body = {"model": "m", "messages": HELLO, "max_tokens": 8, "seed": 7, "logprobs": True, "top_logprobs": 3}
    told = http.post(CHAT, json=body).json()
    content = told["choices"][0]["logprobs"]["content"]
    assert (
        bytes(byte for one in content for byte in one["bytes"]).decode(errors="replace")
        == told["choices"][0]["message"]["content"]
    )
    prompt = "<s>user: The river\nassistant: "
    ids = _ids(chatting, prompt)
    answer = _answer_ids(http, prompt, seed=7)
    request = oip.ModelInferRequest(model_name="m")
    tensor = request.inputs.add(name="input_ids", datatype="INT64", shape=[1, len(ids) + len(answer)])
    tensor.contents.int64_contents.extend(ids + answer)
    request.parameters["score"].bool_param = True
    scored = rows(chatting.oip.ModelInfer(request), "logprobs")[0][-8:]
    assert [one["logprob"] for one in content] == pytest.approx(scored, abs=1e-4)
    for one in content:
        values = [each["logprob"] for each in one["top_logprobs"]]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        assert one["logprob"] <= values[0] + 1e-6


def _ids(worker: LiveWorker, text: str) -> list[int]:
    """Return the ids of a rendered conversation, as scoring of its text tells them (the first is the template's own)."""
    request = text_request(text.removeprefix("<s>"))
    request.parameters["score"].bool_param = True
    return [0, *(int(one) for one in rows(worker.oip.ModelInfer(request), "token_ids")[0])]


def _answer_ids(http: httpx2.Client, prompt: str, seed: int) -> list[int]:
    """Return the ids of what a seed draws after a prompt, by gRPC's words for the same sampling over REST."""
    body = {
        "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [prompt.removeprefix("<s>")]}],
        "parameters": {"max_tokens": 8, "temperature": 1.0, "seed": seed},
    }
    outputs = http.post("/v2/models/m/infer", json=body).json()["outputs"]
    return list(next(one for one in outputs if one["name"] == "token_ids")["data"])


def test_a_stream_adds_up_to_the_whole_answer(http: httpx2.Client) -> None:
    """The pieces are the text, whole characters each; the last ones say why it ended and what it took."""
    whole = complete(http, max_tokens=20, logprobs=0)
    body = {
        "model": "m",
        "prompt": "The river",
        "temperature": 0,
        "max_tokens": 20,
        "logprobs": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    answer = http.post(COMPLETIONS, json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *pieces, last = events(answer)
    choices = [piece["choices"][0] for piece in pieces]
    assert "".join(choice["text"] for choice in choices) == whole["choices"][0]["text"]
    assert [one for choice in choices for one in choice["logprobs"]["tokens"]] == whole["choices"][0]["logprobs"][
        "tokens"
    ]
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["length"]
    assert (last["choices"], last["usage"]) == ([], whole["usage"])


def test_a_chat_stream_says_who_speaks_first(http: httpx2.Client) -> None:
    """Role, text, reason; the text is that of the whole answer with the same seed."""
    body = {"model": "m", "messages": HELLO, "max_tokens": 10, "seed": 3}
    whole = http.post(CHAT, json=body).json()["choices"][0]
    pieces = [event["choices"][0] for event in events(http.post(CHAT, json={**body, "stream": True}))]
    assert pieces[0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(piece["delta"].get("content", "") for piece in pieces) == whole["message"]["content"]
    assert (pieces[-1]["delta"], pieces[-1]["finish_reason"]) == ({}, whole["finish_reason"])


def test_seeds_repeat_and_answers_of_one_request_differ(http: httpx2.Client) -> None:
    """A seed repeats itself, with its first answer the same however many there are; the default is a draw, 0 the likeliest."""

    def draw(**fields: Any) -> list[str]:
        told = complete(http, max_tokens=12, temperature=1, **fields)
        return [choice["text"] for choice in sorted(told["choices"], key=lambda one: one["index"])]

    four = draw(seed=5, n=4)
    assert four == draw(seed=5, n=4)
    assert draw(seed=5) == four[:1]
    assert len(set(four)) == 4
    assert draw(seed=6) != four[:1]
    assert (
        draw(seed=5, top_k=1)
        == draw(seed=9, top_k=1)
        == draw(seed=5, top_p=0)
        == [complete(http, max_tokens=12)["choices"][0]["text"]]
    )


def test_stop_texts_are_never_shown(http: httpx2.Client) -> None:
    """An answer ends before a stop text, wherever its tokens' borders are, streamed or not; what only begins like one is shown."""
    whole = complete(http, max_tokens=20, logprobs=0)["choices"][0]
    tokens = whole["logprobs"]["tokens"]
    text = whole["text"]
    across = tokens[0][-1] + tokens[1][:1]
    assert across in text
    end = text.index(across)
    for stops in (across, ["never there", across], [across + "\0never", across]):
        cut = complete(http, max_tokens=20, stop=stops, logprobs=0)["choices"][0]
        assert (cut["text"], cut["finish_reason"]) == (text[:end], "stop")
        assert len(cut["logprobs"]["tokens"]) <= 1
        body = {"model": "m", "prompt": "The river", "temperature": 0, "max_tokens": 20, "stop": stops, "stream": True}
        pieces = [event["choices"][0] for event in events(http.post(COMPLETIONS, json=body))]
        assert "".join(piece["text"] for piece in pieces) == text[:end]
        assert pieces[-1]["finish_reason"] == "stop"
    assert complete(http, max_tokens=20, stop=[text[-3:] + "\0never"])["choices"][0]["text"] == text


def test_penalties_change_what_repeats(http: httpx2.Client) -> None:
    """The greedy answer repeats a token; with a penalty for that it does so less often."""
    plain = complete(http, max_tokens=40, logprobs=0)["choices"][0]["logprobs"]["tokens"]
    for name in ("frequency_penalty", "presence_penalty"):
        changed = complete(http, max_tokens=40, logprobs=0, **{name: 2.0})["choices"][0]["logprobs"]["tokens"]
        assert len(set(changed)) > len(set(plain))


def test_several_prompts_in_one_request(http: httpx2.Client) -> None:
    """Each prompt has its own answers, in order; prompts may be token ids."""
    one, two = complete(http, prompt="Bread")["choices"][0]["text"], complete(http)["choices"][0]["text"]
    told = complete(http, prompt=["Bread", "The river"])
    assert [choice["text"] for choice in told["choices"]] == [one, two]
    assert [choice["index"] for choice in told["choices"]] == [0, 1]
    assert complete(http, prompt=[5, 6, 7])["choices"] == complete(http, prompt=[[5, 6, 7]])["choices"]


def test_two_streams_go_on_side_by_side(chatting: LiveWorker) -> None:
    """A short answer that was asked for later ends before a long one."""
    ended: dict[str, float] = {}

    def read(name: str, max_tokens: int) -> None:
        body = {"model": "m", "prompt": "He measured", "max_tokens": max_tokens, "temperature": 0, "stream": True}
        with chatting.http() as http, http.stream("POST", COMPLETIONS, json=body) as answer:
            for _ in answer.iter_lines():
                ended.setdefault(f"{name} began", time.monotonic())
        ended[name] = time.monotonic()

    long = threading.Thread(target=read, args=("long", 180))
    long.start()
    assert until(lambda: "long began" in ended)
    read("short", 3)
    long.join()
    assert ended["short"] < ended["long"]


def test_who_leaves_a_stream_frees_its_row(chatting: LiveWorker) -> None:
    """The model computes nothing more for a caller that has gone; the request counts as the client's error, once."""
    before = chatting.report()
    body = {"model": "m", "prompt": "He measured", "max_tokens": 180, "temperature": 0, "stream": True}
    with chatting.http() as http, http.stream("POST", COMPLETIONS, json=body) as answer:
        next(answer.iter_lines())
    assert until(lambda: chatting.report().in_flight_count == 0)
    after = chatting.report()
    assert after.client_error_count == before.client_error_count + 1
    assert after.arrival_count == before.arrival_count + 1
    assert after.call_count == before.call_count + 1
    time.sleep(0.4)
    stopped_at = chatting.report().progress_count
    assert stopped_at < before.progress_count + 170
    time.sleep(0.4)
    assert chatting.report().progress_count == stopped_at


def test_requests_count_once_as_over_grpc(chatting: LiveWorker, http: httpx2.Client) -> None:
    """Answered, refused for what was sent, and never heard of: ok, a client's error, and a call that is no request."""
    before = chatting.report()
    complete(http, max_tokens=2)
    assert http.post(CHAT, json={"model": "m", "messages": HELLO, "tools": [{}]}).status_code == 400
    assert http.get("/v1/models").status_code == 200
    assert http.get("/elsewhere").status_code == 404
    after = chatting.report()
    assert after.ok_count - before.ok_count == 1
    assert after.client_error_count - before.client_error_count == 1
    assert after.server_error_count == before.server_error_count
    assert after.arrival_count - before.arrival_count == 2
    assert after.call_count - before.call_count == 4


def test_traces_have_the_conversation(chatting: LiveWorker, http: httpx2.Client) -> None:
    """Requests are traced as gRPC's are: who asks is a header's word, else the body's."""
    heard = TraceReader(chatting)
    assert until(heard.began)
    complete(http, max_tokens=3, user="c1")
    http.post(CHAT, json={"model": "m", "messages": HELLO, "max_tokens": 3}, headers={"echoplane-conversation": "c2"})
    assert until(lambda: len(heard.traces) == 2)
    assert [one.conversation for one in heard.traces] == ["c1", "c2"]
    assert [len(one.log_probabilities) for one in heard.traces] == [3, 3]
    heard.stop()


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, {"tools": [{"type": "function"}]}, "tools"),
        (CHAT, {"response_format": {"type": "json_object"}}, "response_format"),
        (CHAT, {"logit_bias": {"1": 2}}, "logit_bias"),
        (CHAT, {"temprature": 1}, "temprature"),
        (CHAT, {"temperature": 2.5}, "temperature"),
        (CHAT, {"top_p": "1"}, "top_p"),
        (CHAT, {"n": 0}, "n"),
        (CHAT, {"n": 5}, "n"),
        (CHAT, {"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        (CHAT, {"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        (CHAT, {"top_logprobs": 2}, "top_logprobs"),
        (CHAT, {"stream_options": {"include_usage": True}}, "stream_options"),
        (COMPLETIONS, {"echo": True}, "echo"),
        (COMPLETIONS, {"best_of": 2}, "best_of"),
        (COMPLETIONS, {"prompt": []}, "prompt"),
        (COMPLETIONS, {"prompt": "\ud800"}, "prompt[0]"),
        (EMBEDDINGS, {"input": "x"}, "model"),
    ],
)
def test_what_is_not_done_is_refused_by_name(
    http: httpx2.Client, path: str, fields: dict[str, Any], param: str
) -> None:
    """Nothing is ignored: the error is OpenAI's, and names the parameter."""
    body = {
        "model": "m",
        **({"messages": HELLO} if path == CHAT else {"prompt": "x"} if path == COMPLETIONS else {}),
        **fields,
    }
    answer = http.post(path, content=json.dumps(body))
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param), error


def test_defaults_and_nulls_change_nothing(http: httpx2.Client) -> None:
    """A parameter that says what is done anyway is taken."""
    fields: dict[str, Any] = {
        "tools": [],
        "response_format": {"type": "text"},
        "logit_bias": {},
        "audio": None,
        "store": False,
        "n": 1,
    }
    answer = http.post(CHAT, json={"model": "m", "messages": HELLO, "max_tokens": 2, **fields})
    assert answer.status_code == 200, answer.text


def test_names_and_lengths(http: httpx2.Client) -> None:
    """Another model is not found, unless a gateway says that the name is this one's; what exceeds the context says so."""
    body = {"model": "other/name", "prompt": "x", "max_tokens": 2}
    answer = http.post(COMPLETIONS, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    answer = http.post(COMPLETIONS, json=body, headers={"echoplane-model": "other/name"})
    assert (answer.status_code, answer.json()["model"]) == (200, "other/name")
    for fields in ({"max_tokens": 1000}, {"prompt": "river " * 250}):
        answer = http.post(COMPLETIONS, json={**body, "model": "m", **fields})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded"), answer.text


def test_embeddings_equal_grpc(embedding: LiveWorker) -> None:
    """More texts than a batch has are embedded in one request, as floats and as base64; dimensions are refused; chat is as well."""
    lines = [f"the river {word}" for word in ("rises", "falls", "bends", "ends", "freezes", "floods")]
    over_grpc = [rows(embedding.oip.ModelInfer(text_request(line)), "embedding")[0] for line in lines]
    with embedding.http() as http:
        told = http.post(EMBEDDINGS, json={"model": "m", "input": lines}).json()
        packed = http.post(EMBEDDINGS, json={"model": "m", "input": lines[0], "encoding_format": "base64"}).json()
        refused = http.post(EMBEDDINGS, json={"model": "m", "input": "x", "dimensions": 8})
        chat = http.post(CHAT, json={"model": "m", "messages": HELLO})
    for index, (one, expected) in enumerate(zip(told["data"], over_grpc, strict=True)):
        assert one["index"] == index
        assert one["embedding"] == pytest.approx(expected, abs=1e-5)
    raw = b64decode(packed["data"][0]["embedding"])
    assert struct.unpack(f"<{len(raw) // 4}f", raw) == pytest.approx(over_grpc[0], abs=1e-5)
    assert told["usage"]["prompt_tokens"] == told["usage"]["total_tokens"] > 6 * 3
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "dimensions")
    assert (chat.status_code, chat.json()["error"]["param"]) == (400, "model")
