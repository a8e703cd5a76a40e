"""The context of a plan that nobody asked for: the longest that fits on the devices, for all replicas, or the shortest offered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from echoplaned.core.plan import Device
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import PlanRequest, plan_load, size_model
from echoplaned.planning.context import STEP_TOKENS

GIB = 1024**3
LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


@pytest.fixture
def llama(write_config: Callable[..., Path]) -> Path:
    """Return the config of an 8B Llama, whose context goes to 131,072 tokens."""
    return write_config(**LLAMA_8B)


def cards(*sizes_gib: int) -> tuple[Device, ...]:
    """Return cards of so many GiB."""
    return tuple(Device(f"cuda:{n}", "cuda", f"{size}G", size * GIB, 0) for n, size in enumerate(sizes_gib))


def test_the_longest_that_fits(llama: Path) -> None:
    """A whole number of steps; one step more does not fit; the plan says that it chose."""
    request = PlanRequest(llama, cards(48))
    plan = plan_load(request)
    assert plan.fits
    assert 2048 < plan.context_length < 131_072
    assert plan.context_length % STEP_TOKENS == 0
    assert any("no context_length was asked for" in text and "131072" in text for text in plan.warnings)
    more = replace(request, shape=ShapeRequest(context_length=plan.context_length + STEP_TOKENS))
    assert not plan_load(more).fits
    same = plan_load(replace(request, shape=ShapeRequest(context_length=plan.context_length)))
    assert (same.fits, same.upper_bytes, same.device_ids) == (True, plan.upper_bytes, plan.device_ids)


def test_all_of_it_where_there_is_room(llama: Path) -> None:
    """Nothing is said where nothing is left out."""
    plan = plan_load(PlanRequest(llama, cards(4000)))
    assert (plan.fits, plan.context_length) == (True, 131_072)
    assert not any("context_length" in text for text in plan.warnings)


def test_all_replicas_have_the_same(llama: Path) -> None:
    """The device with the least room decides where every device has a replica; without it the others do."""
    one, two = (plan_load(PlanRequest(llama, cards(96, 48), ShapeRequest(replicas=replicas))) for replicas in (1, 2))
    assert one.context_length > two.context_length
    assert two.device_ids in {("cuda:1", "cuda:0"), ("cuda:0", "cuda:1")}
    alone = plan_load(PlanRequest(llama, cards(48)))
    assert two.context_length >= alone.context_length


def test_less_than_the_shortest_is_not_offered(llama: Path) -> None:
    """No room for 2,048 tokens is no room; the plan is of these, not of the 131,072 that nobody asked for."""
    plan = plan_load(PlanRequest(llama, cards(16)))
    assert (plan.fits, plan.context_length) == (False, 2048)
    assert plan.upper_bytes < 40 * GIB
    assert any("least" in text for text in plan.warnings)


def test_an_update_gets_no_less_than_what_serves(llama: Path) -> None:
    """The shortest that may be chosen is the serving version's context, as far as the checkpoint goes."""
    alone = plan_load(PlanRequest(llama, cards(48))).context_length
    enough = plan_load(PlanRequest(llama, cards(48), least_context=alone))
    assert (enough.fits, enough.context_length) == (True, alone)
    more = plan_load(PlanRequest(llama, cards(48), least_context=alone + STEP_TOKENS))
    assert (more.fits, more.context_length) == (False, alone + STEP_TOKENS)
    longest = plan_load(PlanRequest(llama, cards(48), least_context=10**6))
    assert longest.context_length == 131_072


def test_a_context_that_was_asked_for_stays(llama: Path) -> None:
    """Whoever asks for a number gets an answer for that number."""
    plan = plan_load(PlanRequest(llama, cards(48), ShapeRequest(context_length=131_072)))
    assert (plan.fits, plan.context_length) == (False, 131_072)
    assert size_model(llama).shape.context_length == 131_072
