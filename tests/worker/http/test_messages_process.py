"""Anthropic's Messages API of a real worker."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

pytestmark = pytest.mark.system

MESSAGES = "/v1/messages"
BODY: dict[str, Any] = {
    "model": "m",
    "max_tokens": 12,
    "temperature": 0,
    "messages": [{"role": "user", "content": "The river"}],
}


def events(answer: httpx2.Response) -> list[tuple[str, dict[str, Any]]]:
    """Return a stream's events by name."""
    found = []
    for block in answer.text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_a_message_is_the_chat_completion_of_the_same_words(http: httpx2.Client) -> None:
    """Both APIs render the same conversation; a system's text is its first message; usage is counted."""
    told = http.post(MESSAGES, json={**BODY, "system": [{"type": "text", "text": "Be brief."}]}).json()
    chat = {
        "model": "m",
        "max_tokens": 12,
        "temperature": 0,
        "messages": [{"role": "developer", "content": "Be brief."}, *BODY["messages"]],
    }
    other = http.post("/v1/chat/completions", json=chat).json()
    assert told["content"] == [{"type": "text", "text": other["choices"][0]["message"]["content"]}]
    assert (told["type"], told["role"], told["stop_reason"], told["stop_sequence"]) == (
        "message",
        "assistant",
        "max_tokens",
        None,
    )
    assert told["usage"] == {"input_tokens": other["usage"]["prompt_tokens"], "output_tokens": 12}


def test_the_event_stream(http: httpx2.Client) -> None:
    """Events come in Anthropic's order, and their text adds up to the whole answer's."""
    whole = http.post(MESSAGES, json=BODY).json()
    found = events(http.post(MESSAGES, json={**BODY, "stream": True}))
    names = [name for name, _ in found]
    assert names[:2] == ["message_start", "content_block_start"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(names[2:-3]) == {"content_block_delta"}
    assert "".join(data["delta"]["text"] for _, data in found[2:-3]) == whole["content"][0]["text"]
    assert found[-2][1]["delta"]["stop_reason"] == "max_tokens"
    assert found[-2][1]["usage"] == whole["usage"]
    assert all(data["type"] == name for name, data in found)


def test_a_stop_sequence_is_named(http: httpx2.Client) -> None:
    """The text ends before it, and the answer says which one it was."""
    text = http.post(MESSAGES, json=BODY).json()["content"][0]["text"]
    stop = text[2:4]
    told = http.post(MESSAGES, json={**BODY, "stop_sequences": ["never there", stop]}).json()
    assert told["content"][0]["text"] == text[: text.index(stop)]
    assert (told["stop_reason"], told["stop_sequence"]) == ("stop_sequence", stop)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"tools": [{"name": "x"}]}, "tools"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
        ({"temperature": 1.5}, "temperature"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].type"),
        ({"metadata": {"user_id": "u", "more": 1}}, "metadata.more"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_what_is_refused(http: httpx2.Client, changes: dict[str, Any], says: str) -> None:
    """Errors have Anthropic's form, and name the field."""
    answer = http.post(MESSAGES, json={**BODY, **changes})
    error = answer.json()
    assert (answer.status_code, error["type"], error["error"]["type"]) == (400, "error", "invalid_request_error")
    assert error["error"]["message"].startswith(f"{says}: ")
