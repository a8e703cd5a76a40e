"""The REST routes through the real Envoy, of a real daemon: strict where the transcoder is not, and as docs/rest.md shows them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from echoplane import Client
from echoplane.v1 import keys_pb2
from echoplaned.rpc.convert.events import resume_token
from echoplaned.testing.daemon import DaemonProcess, free_port
from tests.e2e import e2e_system as e
from tests.e2e.e2e_markdown import commands_of, missing_line, read_blocks
from tests.e2e.e2e_rest_gateway import RestGateway

API: Final = "/api/v1/model_serving"
PAGE: Final = Path(__file__).parents[2] / "docs/rest.md"
LOAD: Final = {"model_id": "small", "version_id": "v1", "source_uri": "file:encoder", "aliases": ["Org/Small-1.5"]}
BASH: Final = shutil.which("bash") or "/bin/bash"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def gateway(made: e.Checkpoints) -> Iterator[RestGateway]:
    """A daemon with its gateway, in a folder whose path leaves room for sockets."""
    for name in ("encoder", "better"):
        made.path(name)
    port = free_port()
    flags = ("--gateway-listen", f"127.0.0.1:{port}", "--gateway-concurrency", "1")
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        daemon = DaemonProcess(Path(folder).resolve() / "state", (made.root,), flags)
        try:
            daemon.start(300.0)
            with Client(f"unix:{daemon.state_dir}/api.sock") as client:
                request = keys_pb2.CreateKeyRequest(role=keys_pb2.ROLE_OPERATOR)
                found = RestGateway(port, client.create_key(request).secret)
            e.eventually(lambda: answers(found), 60.0, "the gateway's first answer")
            yield found
        finally:
            daemon.clean()


def answers(gateway: RestGateway) -> bool:
    """Whether the daemon is reached through its gateway."""
    with contextlib.suppress(OSError):
        return gateway.call("GET", "/health").status == 200
    return False


def finish(gateway: RestGateway, operation: Any, timeout_s: float = e.LOAD_S) -> Any:
    """Wait until an operation is done; return it."""

    def done() -> Any:
        answer = gateway.call("GET", f"{API}/{operation['name']}").json
        return answer if answer["done"] else None

    return e.eventually(done, timeout_s, f"the end of {operation['name']}", 0.2)


def operations(gateway: RestGateway) -> list[str]:
    """Return the operations that there are, by name."""
    return [str(each["name"]) for each in gateway.call("GET", f"{API}/operations").json["operations"]]


@pytest.fixture(scope="module")
def loaded(gateway: RestGateway) -> Any:
    """A model that serves, and the operation that loaded it."""
    answer = gateway.call("POST", f"{API}/load", LOAD)
    assert answer.status == 200, answer.body
    return finish(gateway, answer.json, 2 * e.LOAD_S)


def test_without_a_key_nothing_changes(gateway: RestGateway, loaded: Any) -> None:
    """A caller on this machine without a key, or with another service's, reads; what changes something says where to get a key."""
    anybody = RestGateway(gateway.port)
    assert anybody.call("GET", f"{API}/models/small", authorization="Bearer none-yet").status == 200
    for verb, path, body in (
        ("POST", "load", LOAD),
        ("POST", "update", LOAD),
        ("POST", "health_check/small", None),
        ("DELETE", "models/small", None),
        ("DELETE", f"{loaded['name']}", None),
        ("POST", f"{loaded['name']}:cancel", None),
    ):
        answer = anybody.call(verb, f"{API}/{path}", body)
        assert (answer.status, answer.reason) == (403, "CALLER_NOT_ALLOWED"), (path, answer)
        assert "echoplane key create" in answer.json["message"]
    wrong = anybody.call("GET", f"{API}/models/small", authorization="Bearer ep_none_such")
    assert (wrong.status, wrong.json["code"]) == (401, 16)


def test_the_reading_routes(gateway: RestGateway, loaded: Any) -> None:
    """Each answers 200 with the message of the API, default values included."""
    assert loaded["response"]["@type"].endswith("echoplane.v1.ModelVersion")
    model = gateway.call("GET", f"{API}/models/small").json
    assert (model["serving_version"], model["aliases"]) == ("models/small/versions/v1", ["Org/Small-1.5"])
    assert model["labels"] == {}
    assert [each["name"] for each in gateway.call("GET", f"{API}/models?page_size=5").json["models"]] == [
        "models/small"
    ]
    assert gateway.call("GET", f"{API}/health/small").json["state"] == "HEALTH_STATE_SERVING"
    assert gateway.call("POST", f"{API}/health_check/small").json["versions"][0]["probes"][0]["passed"] is True
    assert gateway.call("GET", f"{API}/status").json["models"][0]["name"] == "models/small"
    assert gateway.call("GET", f"{API}/metrics?model=small").json["versions"][0]["cache_miss_count"] == "1"
    assert gateway.call("GET", f"{API}/operations").json["operations"][0]["done"] is True
    assert gateway.call("GET", f"{API}/models/small/rollouts").json["rollouts"] == []
    assert gateway.call("GET", "/openapi.json").json["openapi"] == "3.1.0"
    health = gateway.call("HEAD", "/health")
    assert (health.status, health.body) == (200, b"")
    assert gateway.call("GET", "/health").json["state"] == "HEALTH_STATE_SERVING"


def test_openais_models(gateway: RestGateway, loaded: Any) -> None:
    """Each name is listed and found, an alias with its slash escaped or not; the fields are OpenAI's and no others."""
    listed = gateway.call("GET", "/v1/models").json
    assert [each["id"] for each in listed["data"]] == ["small", "Org/Small-1.5"]
    for path in ("Org/Small-1.5", "Org%2FSmall-1.5", "Org/Small-1.5?id=small"):
        found = gateway.call("GET", f"/v1/models/{path}").json
        assert found.keys() == {"id", "object", "created", "owned_by"}
        assert (found["id"], type(found["created"])) == ("Org/Small-1.5", int)
    assert gateway.call("GET", "/v1/models/nobody").status == 404
    for path in ("Org/../../small", "small%2F..", "..%2Fsmall"):
        # The path means what it leads to, for whoever reads it: the list, or nothing.
        found = gateway.call("GET", f"/v1/models/{path}")
        assert found.status in {400, 404} or found.json["object"] == "list", path


def test_a_typing_error_loads_nothing(gateway: RestGateway, loaded: Any) -> None:
    """What the transcoder drops is refused by name; what no browser may send unasked, too."""
    before = operations(gateway)
    other = {**LOAD, "model_id": "other", "aliases": []}
    refused = {
        "validate_onyl": gateway.call("POST", f"{API}/load", {**other, "validate_onyl": True}),
        "policy.stages": gateway.call("POST", f"{API}/update", {"model_id": "small", "policy": {"stages": [1]}}),
        "validate_only": gateway.call("POST", f"{API}/load?validate_only=true", other),
        "content-type": gateway.call("POST", f"{API}/load", other, content_type="text/plain"),
        "body": gateway.call("POST", f"{API}/load", "[" * 100_000),
    }
    for field, answer in refused.items():
        assert (answer.status, answer.reason, answer.fields) == (400, "FIELD_INVALID", {field})
    taken = gateway.call("POST", f"{API}/load", {**other, "aliases": ["small"]})
    assert (taken.status, taken.reason, taken.detail("ResourceInfo")["resource_name"]) == (
        409,
        "ALIAS_EXISTS",
        "models/small",
    )
    assert operations(gateway) == before
    assert gateway.call("POST", f"{API}/load", {**other, "validate_only": True}).json["done"] is True


@pytest.mark.parametrize(
    "query",
    [
        "name=small",
        "%6eame=small",
        "n%61me=small",
        "Name=small",
        "NAME=small",
        "name=none&name=small",
        "name.x=1",
        "content.data=eA==",
    ],
)
def test_a_delete_means_what_its_path_says(gateway: RestGateway, loaded: Any, query: str) -> None:
    """A parameter that is named like the path variable is refused in every spelling; the model that it names stays."""
    answer = gateway.call("DELETE", f"{API}/models/none?{query}")
    assert (answer.status, answer.reason) == (400, "FIELD_INVALID")
    assert gateway.call("GET", f"{API}/models/small").status == 200
    believed = gateway.call("GET", f"{API}/models/none", x_envoy_original_path=f"{API}/models/small")
    assert (believed.status, believed.reason) == (404, "MODEL_NOT_FOUND")


def test_errors_keep_their_details(gateway: RestGateway, loaded: Any) -> None:
    """A plan that does not fit is in the answer, 64-bit numbers as text, fields by the protos' names."""
    answer = gateway.call(
        "POST", f"{API}/load", {**LOAD, "model_id": "big", "aliases": [], "replicas": 64, "max_concurrency": 4096}
    )
    assert (answer.status, answer.json["code"], answer.reason) == (429, 8, "MEMORY_INSUFFICIENT")
    plan = answer.detail("echoplane.v1.Plan")
    assert plan["fits"] is False
    assert int(plan["upper_bytes"]) > 0
    for verb in ("PUT", "PATCH", "OPTIONS"):
        assert gateway.call(verb, f"{API}/models").status == 404


def test_events_are_streamed_and_resumed(gateway: RestGateway, loaded: Any) -> None:
    """From a token on, with ids and heartbeats; a token that is none is a status of its own."""
    refused = gateway.call("GET", f"{API}/events?resume_token=x")
    assert (refused.status, refused.reason, refused.fields) == (400, "PAGE_TOKEN_INVALID", {"resume_token"})
    with gateway.stream(f"{API}/events?model=small&resume_token={resume_token(0)}") as lines:
        first, second = (next(line for line in lines if line.startswith("id: ")) for _ in range(2))
    with gateway.stream(f"{API}/events", last_event_id=first.removeprefix("id: ")) as lines:
        assert next(line for line in lines if line.startswith("id: ")) == second
        event = json.loads(next(lines).removeprefix("data: "))
        assert f"id: {event['resume_token']}" == second
    with gateway.stream(f"{API}/events") as lines:
        assert [next(lines) for _ in range(4)] == ["retry: 1000", "", ":", ""]


def test_an_update_is_watched_to_its_end(gateway: RestGateway, loaded: Any) -> None:
    """The stream tells each change and ends with the outcome."""
    policy = {"stages_percent": [100], "stage_min_s": 0.5, "soak_s": 0.5, "probe_count": 20, "max_error_increase": 0.1}
    update = {"model_id": "small", "version_id": "v2", "source_uri": "file:better", "policy": policy}
    operation = gateway.call("POST", f"{API}/update", update).json
    rollout = operation["metadata"]["rollout"]
    with gateway.stream(f"{API}/{rollout}/watch") as lines:
        told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert told[-1]["outcome"] != "ROLLOUT_OUTCOME_UNSPECIFIED"
    assert gateway.call("GET", f"{API}/{rollout}").json["outcome"] == told[-1]["outcome"]
    assert finish(gateway, operation)["done"] is True


def test_the_page_is_true(gateway: RestGateway, loaded: Any) -> None:
    """Every command of docs/rest.md prints what stands under it, run in order against a daemon that has loaded nothing."""
    if shutil.which("jq") is None and not os.environ.get("CI"):
        pytest.skip("the page's commands need jq")
    finish(gateway, gateway.call("DELETE", f"{API}/models/small?force=true").json)
    for name in operations(gateway):
        gateway.call("DELETE", f"{API}/{name}")
    # Whoever is behind a proxy has this machine left out of it.
    here = {"no_proxy": "127.0.0.1", "GATEWAY": f"http://127.0.0.1:{gateway.port}"}
    variables = os.environ | here | {"KEY": gateway.key}
    blocks = [block for block in read_blocks(PAGE, PAGE.read_text(encoding="utf-8")) if block.language == "console"]
    commands = [each for block in blocks for each in commands_of(block)]
    # One shell, as a reader has it.
    script = "\n".join(f"{command}\necho; echo '== {number}'" for number, (command, _) in enumerate(commands))
    done = subprocess.run([BASH, "-c", script], env=variables, capture_output=True, text=True, timeout=600, check=False)
    printed = done.stdout
    for number, (command, shown) in enumerate(commands):
        part, _, printed = printed.partition(f"== {number}\n")
        missing = missing_line(shown, part.splitlines())
        assert missing is None, f"{command}\nprinted {part!r}; not there: {missing}\n{done.stderr}"
