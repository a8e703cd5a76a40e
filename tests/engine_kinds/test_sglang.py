"""SGLang as declared: command lines, what is set around it, and its numbers by release."""

from __future__ import annotations

import re

import pytest

from echoplaned.engine_kinds import sglang
from tests.engine_kinds.launches import foreign, launch, value_of, words_of

KIND = sglang.KIND


def test_the_plan_becomes_the_command_line() -> None:
    """The cache's tokens are those of every sequence at its full context, in whole pages; it listens on a port of loopback."""
    words = words_of(KIND, launch(KIND, "0.5.23", "cuda:0", block_size="48", kv_dtype="FP8", max_batched_tokens="2048"))
    told = {
        "--model-path": "/models/chat", "--served-model-name": "chat", "--dtype": "bfloat16", "--context-length": "4096",
        "--max-running-requests": "8", "--max-total-tokens": str(8 * 86 * 48), "--page-size": "48", "--kv-cache-dtype": "fp8_e4m3",
        "--chunked-prefill-size": "2048", "--host": "127.0.0.1", "--port": "8123", "--random-seed": "0", "--tp-size": "1",
        "--load-format": "safetensors", "--sampling-defaults": "openai",
    }  # fmt: skip
    assert {flag: value_of(words, flag) for flag in told} == told
    assert "--enable-metrics" in words
    assert not {"--trust-remote-code", "--mem-fraction-static", "--device"} & set(words)


def test_its_health_makes_no_tokens() -> None:
    """A look at its health would be a request; readiness is told without one."""
    found = foreign(KIND).variables(launch(KIND, "0.5.23", "cuda:0"))
    assert found["SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION"] == "0"
    assert found["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(("version", "counts"), [("0.5.6", False), ("0.5.12", True), ("0.5.23.post1", True)])
def test_numbers_by_release(version: str, *, counts: bool) -> None:
    """A release without a counter of answers says so, and is not taken for one without requests."""
    names = foreign(KIND).metric_names(version)
    assert names.counts_requests is counts
    assert any(series.name == "sglang:realtime_tokens_total" for series in names.steps) is counts
    assert len(names.histograms) == 3
    assert [series.name for series in (*names.prompt_tokens, *names.generated_tokens)] == [
        "sglang:prompt_tokens_total",
        "sglang:generation_tokens_total",
    ]


def test_answers_are_told_apart_by_their_status() -> None:
    """A mistake of the caller's is none of the version's."""
    names = foreign(KIND).metric_names("0.5.23")
    (ok,), (client,), (server,) = names.ok, names.client_errors, names.server_errors
    assert dict(ok.labels)["status_code"] == ("200",)
    assert "404" in dict(client.labels)["status_code"]
    assert "503" in dict(server.labels)["status_code"]
    assert not set(dict(client.labels)["status_code"]) & set(dict(server.labels)["status_code"])


def test_a_cause_is_known_by_its_line() -> None:
    """Memory may be free again later; a flag that a build lacks it will lack then too."""
    causes = foreign(KIND).causes

    def is_retryable(line: str) -> bool:
        return next(cause.retryable for cause in causes if re.search(cause.pattern, line))

    assert is_retryable("ValueError: Not enough memory. Please try to increase --mem-fraction-static.")
    assert not is_retryable("launch_server.py: error: unrecognized arguments: --sampling-defaults")
