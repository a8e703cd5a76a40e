"""A worker process and callers that are not its daemon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from echoplane.worker.v1 import worker_pb2
from echoplaned.worker_contract.control_key import METADATA_KEY
from echoplaned.worker_contract.golden import PROBE_MARK
from tests.models import Checkpoints
from tests.worker.live import LiveWorker, live_worker, score_request, text_request

pytestmark = pytest.mark.system

METHODS = [method.name for method in worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].methods]
STRANGERS: list[Any] = [(), ((METADATA_KEY, ""),), ((METADATA_KEY, "0" * 64),)]


@pytest.fixture(scope="module")
def worker(checkpoints: Checkpoints) -> Iterator[LiveWorker]:
    """A worker that serves a decoder."""
    with live_worker(checkpoints.decoder, "GENERATION") as live:
        yield live


def first_answer(call: Any, request: Any, metadata: Any) -> Any:
    """Make a call; of a stream return the first message, which is what says whether it is refused."""
    answer = call(request, metadata=metadata, timeout=10)
    return next(answer) if isinstance(answer, Iterator) else answer


@pytest.mark.parametrize("method", METHODS)
def test_every_control_method_wants_the_key(worker: LiveWorker, method: str) -> None:
    """Whoever does not send the key, or another one, is UNAUTHENTICATED, and nothing happens."""
    before = worker.report()
    request_type = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].methods_by_name[method].input_type
    for metadata in STRANGERS:
        call = getattr(worker.control, method)
        request = getattr(worker_pb2, request_type.name)()
        with pytest.raises(grpc.RpcError) as caught:
            first_answer(call, request, metadata)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED, metadata
        assert METADATA_KEY in str(caught.value.details())
    after = worker.report()
    assert (after.state, after.draining, after.pid) == (before.state, False, before.pid)


@pytest.mark.parametrize("parameters", [{"requantised": True}, {"requantised": False}, {"distributions": "FP32"}])
def test_parameters_of_the_daemon(worker: LiveWorker, parameters: dict[str, str | bool]) -> None:
    """A client that sends one is refused, as its own error, whatever the value; the daemon is answered."""
    before = worker.report()
    request = score_request("The river rises", **parameters)
    with pytest.raises(grpc.RpcError) as caught:
        worker.oip.ModelInfer(request)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert next(iter(parameters)) in str(caught.value.details())
    (streamed,) = worker.oip.ModelStreamInfer(iter([request]))
    assert streamed.error_message.startswith("PERMISSION_DENIED: ")
    after = worker.report()
    assert after.client_error_count == before.client_error_count + 2
    assert after.server_error_count == before.server_error_count
    assert worker.oip.ModelInfer(request, metadata=worker.key).outputs


def test_a_false_probe_is_a_client(worker: LiveWorker) -> None:
    """The probe mark without the key is worth nothing: the call is a client's, after which another may come."""
    worker.oip.ModelInfer(text_request("a", max_tokens=1), metadata=(PROBE_MARK, *worker.key))
    time.sleep(0.2)
    worker.oip.ModelInfer(text_request("b", max_tokens=1), metadata=(PROBE_MARK,))
    assert worker.report().seconds_since_last_arrival < 0.2


def test_the_key_is_in_the_record_alone(worker: LiveWorker) -> None:
    """It is in no argument, environment or output of the process."""
    key = worker.key[0][1].encode()
    (record,) = (worker.state_dir / "instances").glob("*.json")
    assert key in record.read_bytes()
    proc = Path(f"/proc/{worker.pid}")
    places = [proc / "cmdline", proc / "environ", *worker.state_dir.glob("logs/*")]
    assert [place for place in places if key in place.read_bytes()] == []
