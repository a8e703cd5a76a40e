"""The printed commands: each is one line that a shell takes apart into what is meant."""

from __future__ import annotations

import json
import shlex

import pytest

from echoplaned.up.next_calls import NextCalls, next_calls

CHAT = NextCalls("m", "GENERATION", "127.0.0.1:8470", door="http://127.0.0.1:8480")


def commands(calls: NextCalls) -> dict[str, list[str]]:
    """Return the words of each command, by the first word of what it is."""
    found = next_calls(calls)
    assert all("\n" not in command for _, command in found)
    return {what.split()[0]: shlex.split(command) for what, command in found}


def test_chat_by_curl_and_by_openais_client() -> None:
    """The body is the same JSON, and the code is Python that compiles."""
    words = commands(CHAT)
    assert words["curl"][:3] == ["curl", "-sS", "http://127.0.0.1:8480/v1/chat/completions"]
    assert json.loads(words["curl"][-1]) == CHAT.body
    code = words["OpenAI's"][-1]
    compile(code, "printed", "exec")
    assert 'base_url="http://127.0.0.1:8480/v1"' in code
    assert words["gRPC"] == ["echoplane", "infer", "m", "The capital of France is", "--parameter", "max_tokens=16"]


def test_headers_are_in_every_call_through_the_gateway() -> None:
    """A key is curl's header and the client's own argument; other headers go beside it."""
    headers = {"Authorization": "Bearer ep_1_secret", "X-Team": "a'b"}
    words = commands(NextCalls("m", "GENERATION", "127.0.0.1:8470", door="http://127.0.0.1:8480", headers=headers))
    assert {"Authorization: Bearer ep_1_secret", "X-Team: a'b"} < set(words["curl"])
    assert 'api_key="ep_1_secret"' in words["OpenAI's"][-1]
    assert """default_headers={"X-Team": "a'b"}""" in words["OpenAI's"][-1]


@pytest.mark.parametrize(
    ("task", "path", "kinds"),
    [
        ("EMBEDDING", "/v1/embeddings", {"curl", "OpenAI's", "gRPC"}),
        ("CLASSIFICATION", "/v2/models/m/infer", {"curl", "gRPC"}),
    ],
)
def test_other_tasks_have_their_own_calls(task: str, path: str, kinds: set[str]) -> None:
    """OpenAI has no classification, which the Open Inference Protocol does."""
    words = commands(NextCalls("m", task, "127.0.0.1:8470", door="http://127.0.0.1:8480"))
    assert set(words) == kinds
    assert words["curl"][2] == f"http://127.0.0.1:8480{path}"
    assert "--parameter" not in words["gRPC"]


def test_without_a_gateway_gRPC_is_left() -> None:  # noqa: N802 - its name
    """With the address where it is not the clients' own."""
    words = commands(NextCalls("m", "EMBEDDING", "127.0.0.1:9000", is_default_control=False))
    assert set(words) == {"gRPC"}
    assert words["gRPC"][-2:] == ["--address", "127.0.0.1:9000"]


def test_a_proxy_is_kept_out_of_it() -> None:
    """Where the environment names one, it leads nowhere near this machine."""
    calls = NextCalls("m", "EMBEDDING", "127.0.0.1:8470", door="http://127.0.0.1:8480", avoid_proxy=True)
    curl, openai, _ = next_calls(calls)
    assert curl[1].startswith("no_proxy=127.0.0.1,::1,localhost curl ")
    assert openai[1].startswith("no_proxy=127.0.0.1,::1,localhost python3 ")
