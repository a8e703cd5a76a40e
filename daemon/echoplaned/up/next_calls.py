"""The calls that work next, as commands for a shell: curl, OpenAI's client, xDS.

One line each, to be typed as they are.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

EMBEDDING: Final = "EMBEDDING"
CLASSIFICATION: Final = "CLASSIFICATION"
QUESTION: Final = "What is the capital of France?"
_SYSTEM: Final = "You are a helpful assistant."
_MAX_TOKENS: Final = 48
_BEGINNING: Final = "The capital of France is"
_BEGINNING_TOKENS: Final = 16


@dataclass(frozen=True, slots=True)
class NextCalls:
    """How a model is called, as far as the commands need it.

    Attributes:
        model: id of the model.
        task: what it is served for, as the API names it without its prefix.
        control: address of the daemon, ``HOST:PORT``.
        is_default_control: whether clients take that address where none is said.
        door: base URL of the gateway, ``http://127.0.0.1:8480``; empty: there is none.
        ca_file: file that makes the gateway's certificate believed; empty: the system does, or there is no TLS.
        resolve: what curl's ``--resolve`` says of the host in ``door``; empty: it needs none.
        headers: what requests to the gateway carry beside, a key for example.
        python: interpreter to type.
        echoplane: client's command to type.
        avoid_proxy: whether the environment names a proxy, which leads nowhere near this machine.
    """

    model: str
    task: str
    control: str
    is_default_control: bool = True
    door: str = ""
    ca_file: str = ""
    resolve: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    python: str = "python3"
    echoplane: str = "echoplane"
    avoid_proxy: bool = False

    @property
    def path(self) -> str:
        """Path of the gateway that a call of this task goes to."""
        if self.task == CLASSIFICATION:
            return f"/v2/models/{self.model}/infer"
        return "/v1/embeddings" if self.task == EMBEDDING else "/v1/chat/completions"

    @property
    def body(self) -> dict[str, object]:
        """Body of that call."""
        if self.task == CLASSIFICATION:
            return {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [QUESTION]}]}
        if self.task == EMBEDDING:
            return {"model": self.model, "input": QUESTION}
        messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": QUESTION}]
        return {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": _MAX_TOKENS}


def next_calls(calls: NextCalls) -> list[tuple[str, str]]:
    """Return the commands, each with what it is; without a gateway the last one alone."""
    found = []
    if calls.door:
        found.append(("curl", _curl(calls)))
        if calls.task != CLASSIFICATION:
            host = calls.resolve.partition(":")[0]
            needs = f"; {host} must lead to this machine" if host else ""
            found.append((f"OpenAI's client in Python (pip install openai{needs})", _openai(calls)))
    found.append((f"gRPC over xds:///models/{calls.model}, which follows rollouts", _infer(calls)))
    return found


def _curl(calls: NextCalls) -> str:
    headers = {"Content-Type": "application/json", **calls.headers}
    words = ["curl", "-sS", f"{calls.door}{calls.path}"]
    words += ["--cacert", calls.ca_file] if calls.ca_file else []
    words += ["--resolve", calls.resolve] if calls.resolve else []
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    return _direct(calls) + shlex.join([*words, "-d", json.dumps(calls.body)])


def _openai(calls: NextCalls) -> str:
    key, others = _key_of(calls.headers)
    # JSON is Python as well here, and its quotes are not the shell's.
    words = [f"base_url={json.dumps(f'{calls.door}/v1')}", f"api_key={json.dumps(key)}"]
    words += [f"default_headers={json.dumps(others)}"] if others else []
    imported = "from openai import OpenAI"
    if calls.door.startswith("https:"):
        # Said in full: by itself the client trusts a list of its own, and not what the system does.
        imported = "import ssl; from openai import DefaultHttpxClient, OpenAI"
        trusted = f"cafile={json.dumps(calls.ca_file)}" if calls.ca_file else ""
        words.append(f"http_client=DefaultHttpxClient(verify=ssl.create_default_context({trusted}))")
    given = ", ".join(f"{name}={json.dumps(value)}" for name, value in calls.body.items())
    if calls.task == EMBEDDING:
        asked = f"len(client.embeddings.create({given}).data[0].embedding)"
    else:
        asked = f"client.chat.completions.create({given}).choices[0].message.content"
    code = f"{imported}; client = OpenAI({', '.join(words)}); print({asked})"
    return _direct(calls) + shlex.join([calls.python, "-c", code])


def _key_of(headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the key that OpenAI's client is given, and the headers that are left.

    The client insists on a key; where none is asked for, none is looked at.
    """
    key, others = "none", {}
    for name, value in headers.items():
        if name.lower() == "authorization" and value.startswith("Bearer "):
            key = value.removeprefix("Bearer ")
        else:
            others[name] = value
    return key, others


def _infer(calls: NextCalls) -> str:
    is_generation = calls.task not in {EMBEDDING, CLASSIFICATION}
    # This way there is no chat template: a model goes on with a text, and may find that a question needs nothing more.
    words = [calls.echoplane, "infer", calls.model, _BEGINNING if is_generation else QUESTION]
    words += ["--parameter", f"max_tokens={_BEGINNING_TOKENS}"] if is_generation else []
    if not calls.is_default_control:
        words += ["--address", calls.control]
    return shlex.join(words)


def _direct(calls: NextCalls) -> str:
    host = calls.resolve.partition(":")[0]
    return f"no_proxy=127.0.0.1,::1,localhost{f',{host}' if host else ''} " if calls.avoid_proxy else ""
