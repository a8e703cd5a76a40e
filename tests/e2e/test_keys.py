"""Keys with the real daemon, Envoy and engine: who may call what, how soon a change counts, and that no key is written anywhere."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from echoplane import Client
from echoplane.v1 import keys_pb2, keys_pb2_grpc, models_pb2
from echoplaned.gateway.options import admin_socket
from echoplaned.testing import checkpoints
from echoplaned.testing.daemon import DaemonProcess, free_port
from tests.e2e import e2e_system as e
from tests.e2e.e2e_keys import API, KeyedDoor, Outcome, ask_admin, id_of, outcome

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

MODEL = "chat"
ALIAS = "Org/Chat-1B"
CONTEXT = 2048
NOBODY = f"ep_000000000000_{'A' * 43}"
SOON_S = 1.0
"""Within which a change is in force; what is measured is the best of a few, as the machine does other things."""


@pytest.fixture(scope="module")
def door() -> Iterator[KeyedDoor]:
    """Run a daemon whose gateway asks for keys, with one model; the paths of its sockets must be short."""
    listening = f"127.0.0.1:{free_port()}"
    gateway = ("--gateway-listen", listening, "--gateway-concurrency", "1", "--gateway-keys", "required")
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        root = Path(folder).resolve()
        shape = checkpoints.DecoderShape(positions=CONTEXT)
        checkpoints.add_chat_template(checkpoints.make_decoder(root / "plain", shape=shape), root / "chatting")
        daemon = DaemonProcess(root / "state", (root,), ("--standby-workers", "0", *gateway))
        try:
            daemon.start(300.0)
            found = KeyedDoor(daemon, listening)
            with Client(found.socket) as client:
                request = models_pb2.LoadModelRequest(
                    model_id=MODEL, version_id="v1", source_uri="file:chatting", context_length=CONTEXT, aliases=[ALIAS]
                )
                client.wait(client.load_model(request), e.LOAD_S)
            key = found.make()
            e.eventually(lambda: found.chat(MODEL, key).status == 200, 60.0, "an answer through the gateway")
            yield found
        finally:
            daemon.clean()


@pytest.fixture(scope="module")
def keys(door: KeyedDoor) -> dict[str, str]:
    """Make a key of every kind; none of them is one, and one that nobody made."""
    made = {"": "", "unknown": NOBODY}
    for role in ("viewer", "client", "operator", "admin"):
        made[role] = door.make(role)
    for role in ("viewer", "client", "operator"):
        made[f"{role} of chat"] = door.make(role, MODEL)
        made[f"{role} of other"] = door.make(role, "other")
    made["revoked"] = door.make("admin")
    door.revoke(made["revoked"])
    assert outcome(door.http("GET", f"{API}/status", made["revoked"])) is Outcome.UNAUTHENTICATED
    return made


RANKS = {"viewer": 1, "client": 2, "operator": 3, "admin": 4}
KINDS = (
    "", "unknown", "revoked", "admin",
    "viewer", "viewer of chat", "viewer of other",
    "client", "client of chat", "client of other",
    "operator", "operator of chat", "operator of other",
)  # fmt: skip


def expected(kind: str, rank: int, model: str, found: Outcome) -> Outcome:
    """Return what must come of a call, from the key's kind alone.

    Args:
        kind: of the key.
        rank: of the least role; 0: the call is for nobody.
        model: that the call names; empty: none.
        found: what comes of it for whoever may.
    """
    if kind in {"", "unknown", "revoked"}:
        return Outcome.UNAUTHENTICATED
    role, _, scope = kind.partition(" of ")
    if not rank or RANKS[role] < rank or (scope and model and model != scope):
        return Outcome.FORBIDDEN
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_who_may_call_what(door: KeyedDoor, keys: dict[str, str], kind: str) -> None:
    """Every protocol and route, by role and model; a refusal says nothing of whether the model is there."""
    key = keys[kind]
    for model, there in ((MODEL, Outcome.OK), ("other", Outcome.MISSING)):
        may_infer = expected(kind, RANKS["client"], model, there)
        assert outcome(door.chat(model, key)) is may_infer, (kind, model)
        assert outcome(door.message(model, key)) is may_infer, (kind, model)
        assert outcome(door.http("GET", f"/v2/models/{model}", key)) in {may_infer, Outcome.MISSING}, (kind, model)
        assert door.infer(model, key)[0] is may_infer, (kind, model)
        may_read = expected(kind, RANKS["viewer"], model, there)
        for path in (f"models/{model}", f"health/{model}", f"models/{model}/rollouts"):
            assert outcome(door.http("GET", f"{API}/{path}", key)) is may_read, (kind, path)
        assert outcome(door.http("GET", f"/v1/models/{model}", key)) is may_read, (kind, model)
        may_change = expected(kind, RANKS["operator"], model, there)
        assert outcome(door.http("POST", f"{API}/health_check/{model}", key)) is may_change, (kind, model)
    may_change = expected(kind, RANKS["operator"], "other", Outcome.MISSING)
    assert outcome(door.http("DELETE", f"{API}/models/other", key)) is may_change, kind
    load = {"model_id": "other", "source_uri": "file:/nowhere", "validate_only": True}
    for path in ("load", "update"):
        answer = door.http("POST", f"{API}/{path}", key, load)
        allowed = answer.json().get("details", [{}])[0].get("reason") in {"SOURCE_NOT_ALLOWED", "MODEL_NOT_FOUND"}
        assert (Outcome.MISSING if allowed else outcome(answer)) is may_change, (kind, path, answer)
    for path in (
        f"{API}/status",
        f"{API}/models",
        f"{API}/operations",
        f"{API}/metrics",
        "/v1/models",
        "/openapi.json",
    ):
        assert outcome(door.http("GET", path, key)) is expected(kind, RANKS["viewer"], "", Outcome.OK), (kind, path)
    assert door.native(key)[0] is expected(kind, 0, "", Outcome.OK), kind
    assert outcome(door.http("GET", "/health", key)) is Outcome.OK


def test_refusals_have_their_protocols_shape(door: KeyedDoor, keys: dict[str, str]) -> None:
    """OpenAI's, Anthropic's and OIP's clients, REST callers and gRPC each read their own kind of error."""
    elsewhere = keys["client of other"]
    for key, code, kind in (
        ("", "invalid_api_key", "authentication_error"),
        (elsewhere, "model_not_allowed", "permission_error"),
    ):
        error = door.chat(MODEL, key).json()["error"]
        assert (error["code"], error["type"]) == (code, kind)
        answer = door.message(MODEL, key).json()
        assert (answer["type"], answer["error"]["type"]) == ("error", kind)
        assert set(door.http("GET", f"/v2/models/{MODEL}", key).json()) == {"error"}
        assert "key" in door.infer(MODEL, key)[1]
        status = door.http("GET", f"{API}/models/{MODEL}", key).json()
        assert status["code"] == (7 if key else 16)
    assert door.http("GET", f"{API}/status").headers["www-authenticate"] == "Bearer"
    assert "REST" in door.native(keys["admin"])[1]


def test_aliases_belong_to_their_model(door: KeyedDoor, keys: dict[str, str]) -> None:
    """A key of a model calls it by every name, and lists show a key's own models alone."""
    assert door.chat(ALIAS, keys["client of chat"]).status == 200
    assert door.chat(ALIAS, keys["client of other"]).status == 403
    listed = {
        kind: [each["id"] for each in door.http("GET", "/v1/models", keys[kind]).json()["data"]]
        for kind in keys
        if "client" in kind
    }
    assert listed == {"client": [MODEL, ALIAS], "client of chat": [MODEL, ALIAS], "client of other": []}
    for path, field in (
        ("models", "models"),
        ("status", "models"),
        ("operations", "operations"),
        ("metrics", "versions"),
    ):
        assert door.http("GET", f"{API}/{path}", keys["viewer of chat"]).json()[field], path
        assert not door.http("GET", f"{API}/{path}", keys["viewer of other"]).json()[field], path


def test_callers_forge_nothing(door: KeyedDoor, keys: dict[str, str]) -> None:
    """Headers of ours are removed, paths mean what they say, and a query does not change which model a call is about."""
    admin = id_of(keys["admin"])
    for name in ("x-echoplane-client", "x-echoplane-key", "echoplane-model"):
        assert door.http("GET", f"{API}/status", **{name: admin}).status == 401, name
        value = keys["admin"] if name.endswith("key") else admin
        assert door.chat(MODEL, keys["client of other"], **{name: value}).status == 403, name
        assert door.http("POST", f"{API}/health_check/{MODEL}", keys["viewer"], **{name: value}).status == 403, name
    other = keys["operator of other"]
    for path in (
        f"models/other?name={MODEL}",
        f"models/other?%6eame={MODEL}",
        f"models/x/..%2F{MODEL}",
        f"models/{MODEL}/",
    ):
        assert door.http("DELETE", f"{API}/{path}", other).status in {400, 403}, path
    assert door.http("GET", f"{API}/health/../models/{MODEL}", other).status == 403
    for path in (
        "//health/../api/v1/model_serving/status",
        "/health/..%2Fapi/v1/model_serving/status",
        "/health%2F..%2Fv1/models",
    ):
        assert door.http("GET", path).status in {400, 401, 404}, path
    assert door.http("GET", f"{API}/status", authorization=f"Basic {keys['admin']}").status == 401
    assert door.http("GET", f"{API}/status", **{"x-api-key": keys["admin"]}).status == 200
    assert door.chat(MODEL, keys["client"]).status == 200, "the model is still there"


def test_keys_are_made_on_the_socket_alone(door: KeyedDoor) -> None:
    """Its file is its user's; over TCP the service refuses, and a repeated request makes no second key."""
    socket = door.daemon.state_dir / "api.sock"
    assert socket.stat().st_mode & 0o777 == 0o600
    with grpc.insecure_channel(door.daemon.address) as channel, pytest.raises(grpc.RpcError) as caught:
        keys_pb2_grpc.KeyServiceStub(channel).CreateKey(keys_pb2.CreateKeyRequest(role=keys_pb2.ROLE_ADMIN), timeout=30)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert str(socket) in (caught.value.details() or "")
    first = door.command("create", "--role", "viewer", "--model", MODEL, "--request-id", "once")
    assert first == door.make("viewer", MODEL, request_id="once")
    assert door.http("GET", f"{API}/models/{MODEL}", first).status == 200
    names = [each["name"] for each in json.loads(door.command("ls", "-o", "json"))]
    assert names.count(f"keys/{id_of(first)}") == 1
    assert len(names) == len(set(names))
    assert "is revoked" in door.command("revoke", id_of(first))
    assert door.http("GET", f"{API}/models/{MODEL}", first).status == 401
    assert " revoked " in door.command("ls")


def test_a_change_counts_at_once(door: KeyedDoor) -> None:
    """A new key works for the first request after the answer that told it, and a revoked one for none; both within a second."""
    seconds = []
    for _ in range(10):
        began = time.monotonic()
        key = door.make()
        made = time.monotonic()
        assert door.http("GET", "/v1/models", key).status == 200
        revoking = time.monotonic()
        door.revoke(key)
        seconds += [made - began, time.monotonic() - revoking]
        assert door.http("GET", "/v1/models", key).status == 401
    assert min(seconds) < SOON_S, seconds


def test_a_stream_outlives_its_key(door: KeyedDoor) -> None:
    """An answer that has begun ends by itself, on its open connection, though its key was revoked meanwhile."""
    key = door.make()
    body = {
        "model": MODEL,
        "max_tokens": 1500,
        "stream": True,
        "messages": [{"role": "user", "content": "Tell a story"}],
    }
    with door.stream("/v1/chat/completions", key, body) as lines:
        assert next(lines).startswith("data: ")
        door.revoke(key)
        assert door.http("GET", "/v1/models", key).status == 401
        told = [line for line in lines if line]
    assert told[-1] == "data: [DONE]"
    assert len(told) > 10, "it had hardly begun"


def test_requests_a_minute(door: KeyedDoor) -> None:
    """Above its limit a key is told when to come back, in its protocol's shape; other keys are not concerned."""
    limited, other = door.make("client", requests_per_minute=3), door.make()
    for _ in range(3):
        answer = door.chat(MODEL, limited)
    while answer.status == 200:  # on a machine so slow that a token came meanwhile
        answer = door.chat(MODEL, limited)
    assert (answer.status, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(answer.headers["retry-after"]) <= 20
    assert door.infer(MODEL, limited)[0] is Outcome.LIMITED
    assert door.http("GET", f"{API}/status", limited).json()["code"] == 8
    assert door.chat(MODEL, other).status == 200


def test_commands_say_who_gave_them(door: KeyedDoor, keys: dict[str, str]) -> None:
    """The daemon's log names the key of a call that changes something, by its id."""
    assert door.http("DELETE", f"{API}/models/nobody", keys["operator"]).status == 404
    e.eventually(lambda: f"key/{id_of(keys['operator'])}" in door.daemon.tail(50_000), 10.0, "the line of the log")


def test_keys_outlive_both(door: KeyedDoor, keys: dict[str, str]) -> None:
    """After a crash of the daemon and of Envoy the same keys work, and the revoked one does not."""
    door.daemon.kill()
    assert door.chat(MODEL, keys["client of chat"]).status == 200, "Envoy goes on with what it has"
    (envoy,) = door.daemon.gateways()
    os.kill(envoy.pid, signal.SIGKILL)
    door.daemon.start(300.0)

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return door.chat(MODEL, keys["client of chat"]).status == 200
        return False

    e.eventually(answers, 60.0, "an answer after both restarts")
    assert door.chat(MODEL, keys["client of other"]).status == 403
    assert door.http("GET", f"{API}/status", keys["revoked"]).status == 401


def test_no_key_is_written_anywhere(door: KeyedDoor, keys: dict[str, str]) -> None:
    """Not in the store and its copies, logs, access logs, bootstrap, Envoy's configuration or statistics."""
    (envoy,) = door.daemon.gateways()
    generation = max(
        int(path.stem.partition("-")[2]) for path in (door.daemon.state_dir / "gateway").glob("admin-*.sock")
    )
    admin = admin_socket(door.daemon.state_dir, generation)
    written = {
        path: ask_admin(admin, path) for path in ("/config_dump?include_eds", "/stats", "/clusters", "/listeners")
    }
    assert b"echoplane-keys" in written["/config_dump?include_eds"], "the filter is in it"
    time.sleep(1.5)
    for path in (door.daemon.log_path, *door.daemon.state_dir.rglob("*")):
        if path.is_file():
            written[str(path)] = path.read_bytes()
    words = "\0".join(envoy.cmdline()).encode()
    assert any(name.endswith("echoplane.db") for name in written)
    assert any("access" in name for name in written)
    for kind, key in keys.items():
        if key:
            secret = key.rpartition("_")[2] if kind == "unknown" else key.split("_", 2)[2]
            found = [name for name, content in {**written, "command line": words}.items() if secret.encode() in content]
            assert not found, (kind, found)


def test_losing_the_secret_revokes_all(door: KeyedDoor, keys: dict[str, str]) -> None:
    """Another secret in its place: no old key works, an alarm says so, and a new key does."""
    secret = door.daemon.state_dir / "key-secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    door.daemon.stop()
    kept = secret.read_bytes()
    secret.unlink()
    door.daemon.start(300.0)
    e.eventually(
        lambda: door.http("GET", f"{API}/status", keys["admin"]).status == 401, 30.0, "the end of the old keys"
    )
    fresh = door.make("admin")
    status = door.http("GET", f"{API}/status", fresh)
    assert status.status == 200, status
    assert any("key-secret" in alarm for alarm in status.json()["alarms"])
    door.daemon.stop()
    secret.write_bytes(kept)
    secret.chmod(0o644)
    with pytest.raises(RuntimeError, match="can be read by others"):
        door.daemon.start(60.0)
    secret.chmod(0o600)
    door.daemon.start(300.0)
    e.eventually(lambda: door.http("GET", f"{API}/status", keys["admin"]).status == 200, 30.0, "the old keys again")
