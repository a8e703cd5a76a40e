"""A real worker with a real encoder."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tokenizers import Tokenizer

from echoplane.inference import grpc_service_pb2 as oip
from echoplane.worker.v1 import worker_pb2
from echoplaned.worker_contract.golden import PROBE_MARK
from echoplaned.worker_contract.record import WorkerPhase, read_records
from tests.models import Checkpoints
from tests.worker.live import LiveWorker, ids_request, live_worker, load_request, rows, text_request

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def worker(checkpoints: Checkpoints) -> Iterator[LiveWorker]:
    """A worker with the small encoder."""
    with live_worker(checkpoints.encoder, "EMBEDDING") as live:
        yield live


def close(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two vectors agree but for rounding."""
    return all(math.isclose(a, b, abs_tol=1e-5) for a, b in zip(one, other, strict=True))


def test_an_embedding_is_a_unit_vector_and_the_same_in_any_company(worker: LiveWorker) -> None:
    """Pooling and normalisation follow the checkpoint, and padding changes nothing."""
    alone = rows(worker.oip.ModelInfer(text_request("The river rises")), "embedding")
    together = rows(
        worker.oip.ModelInfer(text_request("The river rises", "Bread needs flour, water, salt and time")), "embedding"
    )
    assert math.isclose(sum(value * value for value in alone[0]), 1.0, abs_tol=1e-5)
    assert len(alone[0]) == 128
    assert close(alone[0], together[0])
    assert not close(together[0], together[1])


def test_token_ids_give_what_their_text_gives(worker: LiveWorker, checkpoints: Checkpoints) -> None:
    """Raw token ids in, raw vector out, equal to the text's."""
    tokenizer = Tokenizer.from_file(str(checkpoints.encoder / "tokenizer.json"))
    response = worker.oip.ModelInfer(ids_request(tokenizer.encode("The river rises").ids))
    assert not response.outputs[0].HasField("contents")
    vector = struct.unpack("<128f", response.raw_output_contents[0])
    assert close(vector, rows(worker.oip.ModelInfer(text_request("The river rises")), "embedding")[0])


def test_the_answer_names_model_version_and_request(worker: LiveWorker) -> None:
    """Names come back in the message, the version in the trailer as well."""
    response, call = worker.oip.ModelInfer.with_call(text_request("a", version="v1"))
    assert (response.model_name, response.model_version, response.id) == ("m", "v1", "r1")
    assert ("echoplane-version", "v1") in call.trailing_metadata()


@pytest.mark.parametrize(
    ("request_message", "code", "says"),
    [
        (text_request("word " * 70), grpc.StatusCode.INVALID_ARGUMENT, "context_length is 64 tokens"),
        (text_request("x" * 4097), grpc.StatusCode.INVALID_ARGUMENT, "no text over 4096 characters"),
        (text_request(*"abcdefghi"), grpc.StatusCode.INVALID_ARGUMENT, "max_concurrency is 8"),
        (ids_request([1] * 65), grpc.StatusCode.INVALID_ARGUMENT, "context_length is 64 tokens"),
        (ids_request([1, 600_000]), grpc.StatusCode.INVALID_ARGUMENT, "outside 0.."),
        (text_request("a", model="other"), grpc.StatusCode.NOT_FOUND, "serves model 'm'"),
        (text_request("a", version="v9"), grpc.StatusCode.NOT_FOUND, "version 'v9'"),
        (oip.ModelInferRequest(model_name="m"), grpc.StatusCode.INVALID_ARGUMENT, "text and input_ids"),
    ],
)
def test_a_refusal_has_a_status_a_reason_and_the_version(
    worker: LiveWorker, request_message: oip.ModelInferRequest, code: grpc.StatusCode, says: str
) -> None:
    """Limits and mistakes are answered with a status other than OK, the trailer included, and count as the client's."""
    before = worker.report()
    with pytest.raises(grpc.RpcError) as caught:
        worker.oip.ModelInfer(request_message)
    assert caught.value.code() is code
    assert says in str(caught.value.details())
    assert ("echoplane-version", "v1") in caught.value.trailing_metadata()
    after = worker.report()
    assert after.client_error_count == before.client_error_count + 1
    assert after.server_error_count == before.server_error_count


def test_exactly_the_context_is_accepted(worker: LiveWorker) -> None:
    """The limit itself is within the limit."""
    assert worker.oip.ModelInfer(ids_request([1] * 64)).outputs[0].shape == [1, 128]


def test_a_message_over_the_transports_limit_is_refused(worker: LiveWorker) -> None:
    """The transport itself refuses five megabytes."""
    with pytest.raises(grpc.RpcError) as caught:
        worker.oip.ModelInfer(text_request("x" * 5_000_000))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_many_at_once_are_all_answered(worker: LiveWorker) -> None:
    """Concurrent callers share batches and each gets its own answer."""
    sentences = [f"number {index} of the texts" for index in range(40)]
    with ThreadPoolExecutor(16) as pool:
        together = list(
            pool.map(lambda text: rows(worker.oip.ModelInfer(text_request(text)), "embedding")[0], sentences)
        )
    before = worker.report().progress_count
    alone = [rows(worker.oip.ModelInfer(text_request(text)), "embedding")[0] for text in sentences[:5]]
    assert all(close(one, other) for one, other in zip(alone, together, strict=False))
    assert worker.report().progress_count == before + 5


def test_a_stream_answers_each_request_and_survives_an_error(worker: LiveWorker) -> None:
    """Errors come in the stream; what follows is answered."""
    responses = list(
        worker.oip.ModelStreamInfer(iter([text_request("a"), text_request("a", model="x"), text_request("b")]))
    )
    assert [bool(response.error_message) for response in responses] == [False, True, False]
    assert responses[1].error_message.startswith("NOT_FOUND")
    assert responses[2].infer_response.parameters["triton_final_response"].bool_param


def test_metadata_and_readiness(worker: LiveWorker) -> None:
    """The standard questions are answered."""
    metadata = worker.oip.ModelMetadata(oip.ModelMetadataRequest(name="m"))
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.outputs] == [("embedding", "FP32", [-1, 128])]
    assert [t.name for t in metadata.inputs] == ["text", "input_ids", "attention_mask"]
    assert worker.oip.ServerLive(oip.ServerLiveRequest()).live
    assert worker.oip.ServerReady(oip.ServerReadyRequest()).ready
    assert worker.oip.ModelReady(oip.ModelReadyRequest(name="m", version="v1")).ready
    assert not worker.oip.ModelReady(oip.ModelReadyRequest(name="m", version="v2")).ready
    health = health_pb2_grpc.HealthStub(worker.channel).Check(health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        worker.oip.RepositoryIndex(oip.RepositoryIndexRequest())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_worker_loads_once(worker: LiveWorker, checkpoints: Checkpoints) -> None:
    """The same order again is answered alike, another one is refused."""
    again = worker.control.Load(load_request(checkpoints.encoder, "EMBEDDING"), metadata=worker.key)
    assert again.signature.outputs[0].shape == [-1, 128]
    assert again.tensor_bytes > 0
    with pytest.raises(grpc.RpcError) as caught:
        worker.control.Load(load_request(checkpoints.encoder, "EMBEDDING", generation=2), metadata=worker.key)
    assert caught.value.code() is grpc.StatusCode.ABORTED


@pytest.mark.parametrize(
    "changes",
    [
        {"instance": "nonsense"},
        {"engine_options": {"warp": "9"}},
        {"engine_options": {"torch_threads": "0"}},
        {"max_concurrency": 0},
    ],
)
def test_a_bad_order_is_refused(worker: LiveWorker, checkpoints: Checkpoints, changes: dict[str, object]) -> None:
    """What cannot be an order is INVALID_ARGUMENT."""
    with pytest.raises(grpc.RpcError) as caught:
        worker.control.Load(load_request(checkpoints.encoder, "EMBEDDING", **changes), metadata=worker.key)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_report_tells_memory_and_counters(worker: LiveWorker) -> None:
    """Arrivals add up, and the process is larger than the spare it was."""
    report = worker.report()
    ended = report.ok_count + report.client_error_count + report.server_error_count
    assert report.arrival_count == ended + report.in_flight_count
    assert report.in_flight_count == 0
    assert report.state == worker_pb2.WORKER_STATE_READY
    assert report.memory.rss_anon_bytes + report.memory.rss_file_bytes <= report.memory.rss_bytes * 1.01
    assert report.memory.spare_rss_anon_bytes > 0
    assert report.memory.peak_rss_bytes >= report.memory.rss_bytes


def test_a_probe_is_no_sign_of_a_client(worker: LiveWorker) -> None:
    """A call with the probes' mark is answered and counted, and the time since the last client goes on."""
    worker.oip.ModelInfer(text_request("a"))
    before = worker.report()
    worker.oip.ModelInfer(text_request("b"), metadata=(PROBE_MARK, *worker.key))
    after = worker.report()
    assert after.arrival_count == before.arrival_count + 1
    assert after.seconds_since_last_arrival > before.seconds_since_last_arrival


def test_draining_is_a_mark(worker: LiveWorker) -> None:
    """A draining worker goes on answering; another generation is not meant."""
    worker.control.Drain(worker_pb2.DrainRequest(generation=1), metadata=worker.key)
    assert worker.report().draining
    assert worker.oip.ModelInfer(text_request("a")).outputs[0].shape == [1, 128]
    worker.control.Drain(worker_pb2.DrainRequest(generation=1, undo=True), metadata=worker.key)
    assert not worker.report().draining
    with pytest.raises(grpc.RpcError) as caught:
        worker.control.Drain(worker_pb2.DrainRequest(generation=2), metadata=worker.key)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_the_record_and_the_arguments_name_the_worker(worker: LiveWorker) -> None:
    """What a restarted daemon reads is there: the instance in the record, the id in the arguments, a session of its own."""
    (record,) = read_records(worker.state_dir)
    assert (record.worker_id, record.pid, record.instance, record.generation) == ("w1", worker.pid, "m/v1#0", 1)
    assert record.phase is WorkerPhase.READY
    assert os.getsid(worker.pid) == os.getpgid(worker.pid) == worker.pid


def test_zz_sigterm_ends_it_cleanly(worker: LiveWorker) -> None:
    """SIGTERM leaves no record behind (last in this file: the worker is gone afterwards)."""
    os.kill(worker.pid, 15)
    status = os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
    assert status is not None
    assert (status.si_code, status.si_status) == (os.CLD_EXITED, 0)
    assert read_records(worker.state_dir) == ()
