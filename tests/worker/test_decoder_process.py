"""A real worker with a real decoder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import grpc
import numpy as np
import pytest
from tokenizers import Tokenizer

from echoplane.inference import grpc_service_pb2 as oip
from echoplaned.ports.traces import TraceFlag
from echoplaned.worker_contract.golden import PROBE_MARK
from tests.models import Checkpoints
from tests.worker.live import LiveWorker, TraceReader, live_worker, rows, score_request, text_request, texts

pytestmark = pytest.mark.system

CONTEXT = 200


@pytest.fixture(scope="module")
def worker(checkpoints: Checkpoints) -> Iterator[LiveWorker]:
    """A worker with the small decoder."""
    with live_worker(checkpoints.decoder, "GENERATION", context_length=CONTEXT, max_concurrency=2) as live:
        yield live


def until(condition: Callable[[], bool]) -> bool:
    """Wait up to ten seconds for something in another process."""
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_greedy_generation_with_log_probabilities(worker: LiveWorker, checkpoints: Checkpoints) -> None:
    """As many tokens as asked for, each with a log-probability, the text being theirs, the same every time."""
    first = worker.oip.ModelInfer(text_request("The river", max_tokens=6))
    ids, logprobs = rows(first, "token_ids")[0], rows(first, "logprobs")[0]
    assert len(ids) == len(logprobs) == 6
    assert all(-20 < value <= 0 for value in logprobs)
    tokenizer = Tokenizer.from_file(str(checkpoints.decoder / "tokenizer.json"))
    assert texts(first) == [tokenizer.decode([int(token) for token in ids], skip_special_tokens=True)]
    assert rows(worker.oip.ModelInfer(text_request("The river", max_tokens=6)), "token_ids")[0] == ids


def test_a_row_is_the_same_in_any_company(worker: LiveWorker) -> None:
    """Left padding and leaving rows change nothing but rounding."""
    alone = worker.oip.ModelInfer(text_request("Bread", max_tokens=8))
    together = worker.oip.ModelInfer(text_request("Bread", "The train to the north leaves", max_tokens=8))
    assert rows(together, "token_ids")[0] == rows(alone, "token_ids")[0]
    assert rows(together, "logprobs")[0] == pytest.approx(rows(alone, "logprobs")[0], abs=1e-4)


def test_sampling_follows_seed_and_top_k(worker: LiveWorker) -> None:
    """A seed repeats itself, seeds differ, and the best one of one is the greedy choice."""

    def ids(**parameters: Any) -> tuple[float, ...]:
        return rows(worker.oip.ModelInfer(text_request("She opened", max_tokens=12, **parameters)), "token_ids")[0]

    assert ids(temperature=1.5, seed=1) == ids(temperature=1.5, seed=1)
    assert ids(temperature=1.5, seed=1) != ids(temperature=1.5, seed=2)
    assert ids(temperature=1.5, seed=1, top_k=1) == ids()


def test_a_stream_tells_the_same_tokens_one_by_one(worker: LiveWorker) -> None:
    """The pieces of a streamed generation add up to the whole one."""
    request = text_request("In the market", max_tokens=10)
    pieces = [response.infer_response for response in worker.oip.ModelStreamInfer(iter([request]))]
    whole = worker.oip.ModelInfer(request)
    assert [rows(piece, "token_ids")[0][0] for piece in pieces] == list(rows(whole, "token_ids")[0])
    assert "".join(texts(piece)[0] for piece in pieces) == texts(whole)[0]
    assert [piece.parameters["triton_final_response"].bool_param for piece in pieces] == [False] * 9 + [True]


def test_a_stream_takes_one_sequence_a_request(worker: LiveWorker) -> None:
    """Two sequences in one streamed request are refused in the stream."""
    (response,) = worker.oip.ModelStreamInfer(iter([text_request("a", "b", max_tokens=2)]))
    assert "one sequence a request" in response.error_message


@pytest.mark.parametrize("max_tokens", [CONTEXT, 190])
def test_prompt_and_answer_together_fit_the_context(worker: LiveWorker, max_tokens: int) -> None:
    """More tokens than the context has room for are refused, never cut."""
    with pytest.raises(grpc.RpcError) as caught:
        worker.oip.ModelInfer(
            text_request("Every stage of a rollout waits for evidence, not for a clock.", max_tokens=max_tokens)
        )
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"context_length of {CONTEXT} tokens" in str(caught.value.details())


def test_a_cancelled_generation_stops_between_tokens(worker: LiveWorker) -> None:
    """The model computes nothing more for a caller that has gone, and the call counts as the client's."""
    before = worker.report()
    stream = worker.oip.ModelStreamInfer(iter([text_request("He measured", max_tokens=180)]))
    next(cast(Any, stream))
    stream.cancel()
    assert until(lambda: worker.report().in_flight_count == 0)
    assert worker.report().client_error_count == before.client_error_count + 1
    stopped_at = progress_after_a_moment(worker)
    assert stopped_at < before.progress_count + 170
    assert progress_after_a_moment(worker) == stopped_at


def progress_after_a_moment(worker: LiveWorker) -> int:
    """Return the steps computed so far, when a step that was under way has had time to end."""
    time.sleep(0.4)
    return worker.report().progress_count


def test_a_deadline_that_the_model_cannot_meet_is_an_overload(worker: LiveWorker) -> None:
    """A call that asked for more steps than its time allows ends, leaves nothing behind and counts apart, not against the version."""
    before = worker.report()
    with pytest.raises(grpc.RpcError) as caught:
        worker.oip.ModelInfer(text_request("He measured", max_tokens=180), timeout=0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert until(lambda: worker.report().in_flight_count == 0)
    after = worker.report()
    assert after.overload_count == before.overload_count + 1
    assert after.server_error_count == before.server_error_count


def test_a_generation_is_scored_as_it_was_generated(worker: LiveWorker, checkpoints: Checkpoints) -> None:
    """Teacher-forced, the model's own answer has the log-probabilities that it had when it was made."""
    tokenizer = Tokenizer.from_file(str(checkpoints.decoder / "tokenizer.json"))
    prompt = tokenizer.encode("The river").ids
    made = worker.oip.ModelInfer(text_request("The river", max_tokens=6))
    answer = [int(token) for token in rows(made, "token_ids")[0]]
    request = oip.ModelInferRequest(model_name="m")
    ids = request.inputs.add(name="input_ids", datatype="INT64", shape=[1, len(prompt) + len(answer)])
    ids.contents.int64_contents.extend(prompt + answer)
    request.parameters["score"].bool_param = True
    scored = worker.oip.ModelInfer(request)
    assert [output.name for output in scored.outputs] == ["token_ids", "logprobs"]
    assert list(rows(scored, "token_ids")[0]) == (prompt + answer)[1:]
    assert rows(scored, "logprobs")[0][-6:] == pytest.approx(rows(made, "logprobs")[0], abs=1e-4)


def test_whole_distributions(worker: LiveWorker) -> None:
    """They add up to 1 at every token and hold the token's own; what a row lacks is filled up."""
    scored = worker.oip.ModelInfer(score_request("The river rises", "Bread", distributions="FP32"), metadata=worker.key)
    names = [output.name for output in scored.outputs]
    assert names == ["token_ids", "logprobs", "log_distributions"]
    output = scored.outputs[2]
    sequences, tokens, vocabulary = output.shape
    whole = np.array(output.contents.fp32_contents, np.float32).reshape(sequences, tokens, vocabulary)
    for ids, logprobs, distributions in zip(rows(scored, "token_ids"), rows(scored, "logprobs"), whole, strict=True):
        count = sum(token >= 0 for token in ids)
        assert np.exp(distributions[:count]).sum(axis=1) == pytest.approx(np.ones(count), abs=1e-4)
        assert distributions[range(count), [int(token) for token in ids[:count]]].tolist() == list(logprobs[:count])
        assert not distributions[count:].any()


def test_scoring_as_the_model_in_int8(worker: LiveWorker, checkpoints: Checkpoints) -> None:
    """The same as a load in INT8 says, without one; the answers after it are what they were; a model in INT8 refuses."""
    plain, rounded = score_request("The river rises"), score_request("The river rises", requantised=True)
    before = rows(worker.oip.ModelInfer(plain), "logprobs")[0]
    found = rows(worker.oip.ModelInfer(rounded, metadata=worker.key), "logprobs")[0]
    assert rows(worker.oip.ModelInfer(plain), "logprobs")[0] == before
    with live_worker(checkpoints.decoder, "GENERATION", context_length=CONTEXT, dtype="DTYPE_INT8") as other:
        there = rows(other.oip.ModelInfer(plain), "logprobs")[0]
        with pytest.raises(grpc.RpcError, match="in INT8 already"):
            other.oip.ModelInfer(rounded, metadata=other.key)
    assert found == pytest.approx(there, abs=1e-4)
    assert max(abs(a - b) for a, b in zip(found, before, strict=True)) > 1e-3


def test_what_scoring_refuses(worker: LiveWorker) -> None:
    """A token alone, sampling beside scoring, a dtype that is not there, and a text beyond the context unless it may be cut."""
    long = "Every stage of a rollout waits for evidence. " * 40
    refused = [
        score_request("Bread", max_tokens=True),
        score_request("Bread", distributions="FP64"),
        score_request("Bread", distributions="FP16"),
        score_request(long),
        text_request("Bread", distributions=1),
    ]
    for request in refused:
        with pytest.raises(grpc.RpcError) as caught:
            worker.oip.ModelInfer(request, metadata=worker.key)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    (cut,) = rows(worker.oip.ModelInfer(score_request(long, truncate=True)), "logprobs")
    assert len(cut) == CONTEXT - 1


def test_traces_of_generations(worker: LiveWorker) -> None:
    """Each request has a trace with its own log-probabilities, entropies, conversation, and how it ended; of several rows the first."""
    heard = TraceReader(worker)
    assert until(heard.began)
    talk = (("echoplane-conversation", "c1"), ("echoplane-class", "k" * 65), PROBE_MARK, *worker.key)
    made = worker.oip.ModelInfer(text_request("The river", "Bread", max_tokens=5), metadata=talk)
    list(worker.oip.ModelStreamInfer(iter([text_request("He measured", max_tokens=3, temperature=1.5, seed=1)])))
    worker.oip.ModelInfer(score_request("The river"))
    assert until(lambda: len(heard.traces) == 2)
    first, second = heard.traces
    assert list(first.log_probabilities) == pytest.approx(rows(made, "logprobs")[0])
    assert all(0 < value < 6.3 for value in first.entropies)  # at most ln(vocabulary)
    assert (first.conversation, first.probe, first.flags) == ("c1", True, TraceFlag.NONE)
    assert (len(second.entropies), second.conversation, second.probe) == (3, "", False)
    assert second.flags == TraceFlag.SAMPLED
    assert [(each.max_tokens, len(each.prompt_class)) for each in (first, second)] == [(5, 32), (3, 0)]
    assert 0 != first.digest != second.digest != 0
    assert 0 <= second.ended_s - first.ended_s < 60
    heard.stop()
