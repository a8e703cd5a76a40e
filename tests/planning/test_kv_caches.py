"""Bytes of caches as planned beside those that transformers' own cache objects hold after real steps of small random models."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import signature
from typing import Any

import pytest

from echoplaned import _allocator
from tests.planning.drawn import DRAWS, TOKENS

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = [
    # The libraries' own sources warn while they are compiled.
    pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

DTYPES = {"FP32": "float32", "BF16": "bfloat16"}
TASKS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "MTModel")
GENERATORS = sorted(name for name in DRAWS if name.endswith(TASKS))
KINDS = {
    "MHA": ("GPT2LMHeadModel", "OPTForCausalLM"),
    "GQA": ("LlamaForCausalLM", "Qwen3ForCausalLM"),
    "MQA": ("GPTBigCodeForCausalLM",),
    "MLA": ("DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"),
    "window": ("MistralForCausalLM",),
    "windows by a pattern": ("Gemma2ForCausalLM", "Gemma3ForCausalLM", "Cohere2ForCausalLM", "Olmo3ForCausalLM"),
    "chunks": ("Llama4ForCausalLM",),
    "attention and states": ("JambaForCausalLM", "BambaForCausalLM"),
    "states": ("MambaForCausalLM", "Mamba2ForCausalLM", "FalconMambaForCausalLM"),
    "cross attention": ("T5ForConditionalGeneration", "BartForConditionalGeneration"),
}
"""A kind of each cache that the planner knows; without one: encoders."""

_MOST_TOKENS = 24
"""More than any test runs through a model."""

Fields = dict[str, Any]


@dataclass(frozen=True)
class Planned:
    """One ``*_cache`` component of a plan: its bytes, and the window of its layers, None where they see everything."""

    name: str
    bytes: int
    window: int | None


@dataclass(frozen=True)
class Subject:
    """A model that runs, and its config as a file has it. ``prompt``: tokens of the first step, ``batch``: sequences."""

    model: Any
    text: str
    dtype: str
    prompt: int
    batch: int

    def planned(self, context: int) -> list[Planned]:
        """Return the plan's caches at a context, from the config alone."""
        request = _allocator.Request(
            engine_name="torch", dtype_name=self.dtype, context_length=context, max_concurrency=self.batch
        )
        parts = _allocator.size(_allocator.survey_config(self.text.encode()), request).components
        return [
            Planned(part.name, part.bytes, dict(part.inputs).get("window"))
            for part in parts
            if part.name.endswith("_cache")
        ]


def runnable(architecture: str, rng: random.Random) -> Fields:
    """Return drawn fields that the CPU's kernels take: even rotary parts, and windows that a few tokens pass."""
    fields = dict(DRAWS[architecture](rng))
    if architecture.startswith(("Persimmon", "Phi", "StableLm")):
        # A part of each head is rotated: half of it, two fifths or a quarter, and it must come out even.
        heads = fields["num_attention_heads"]
        fields |= {"hidden_size": heads * 8 * rng.randint(1, 3), "partial_rotary_factor": 0.5}
    if architecture.startswith(("Deepseek", "MiniCPM3")):
        plain, rotary = 2 * rng.randint(1, 10), 2 * rng.randint(1, 8)
        # Rotations are complex numbers, which start at even places only.
        fields |= {"kv_lora_rank": 2 * rng.randint(1, 20), "qk_nope_head_dim": plain, "qk_rope_head_dim": rotary}
        fields |= {"head_dim": rotary, "topk_group": 1}
        fields |= {"num_key_value_heads": fields["num_attention_heads"], "topk_method": "greedy"}
    if architecture == "FalconForCausalLM":
        # Its layouts of heads and norms need fields that agree with each other, which a draw does not give.
        fields |= {"new_decoder_architecture": False, "parallel_attn": True, "multi_query": rng.random() < 0.5}
        fields["num_kv_heads"] = 1 if fields["multi_query"] else fields["num_attention_heads"]
    if architecture == "JambaForCausalLM":
        # Without a layer that attends, transformers' model of both kinds cannot tell how many tokens it has seen.
        fields["num_hidden_layers"] = max(fields["num_hidden_layers"], fields["attn_layer_offset"] + 1)
    for name in ("max_position_embeddings", "n_positions", "max_seq_len"):
        if name in fields:
            fields[name] += _MOST_TOKENS
    for name in ("sliding_window", "attention_chunk_size"):
        if name in fields:
            fields[name] = rng.randint(2, 8)
    return fields


def subject(architecture: str, seed: int) -> Subject:
    """Return a small model with random weights."""
    rng = random.Random(seed)
    model_class = getattr(transformers, architecture)
    config = model_class.config_class(**TOKENS, **runnable(architecture, rng))
    # The grouped kernel of experts wants aligned widths; what a layer keeps does not depend on it.
    config._experts_implementation = "eager"
    dtype = rng.choice(sorted(DTYPES))
    torch.manual_seed(seed)
    model = model_class(config).eval().to(getattr(torch, DTYPES[dtype]))
    text = json.dumps(config.to_dict() | {"architectures": [architecture]})
    return Subject(model, text, dtype, rng.randint(1, 12), rng.randint(1, 3))


def tensors(held: object, seen: set[int]) -> Iterator[Any]:
    """Return every tensor with states that an object reaches; counters of tokens are whole numbers and left out."""
    if id(held) in seen:
        return
    seen.add(id(held))
    if isinstance(held, torch.Tensor):
        if held.is_floating_point():
            yield held
        return
    parts = held.values() if isinstance(held, dict) else held if isinstance(held, list | tuple) else None
    if parts is None and type(held).__module__ == "transformers.cache_utils":
        parts = vars(held).values()
    for part in parts or ():
        yield from tensors(part, seen)


def held_bytes(cache: object) -> tuple[int, int]:
    """Return the bytes that a cache's tensors show, and those of the storages under them, each once."""
    found = list(tensors(cache, set()))
    storages = {part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in found}
    return sum(part.nbytes for part in found), sum(storages.values())


def step(of: Subject, tokens: int, cache: object) -> object:
    """Run tokens of every sequence, after those that the cache has; return the cache."""
    rng = random.Random(tokens)
    draw = lambda count: torch.tensor([[rng.randint(3, 9) for _ in range(count)] for _ in range(of.batch)])  # noqa: E731
    inputs: Fields = {"input_ids": draw(tokens)}
    if of.model.config.is_encoder_decoder:
        inputs = {"input_ids": draw(of.prompt), "decoder_input_ids": draw(tokens)}
    name = "past_key_values" if "past_key_values" in signature(of.model.forward).parameters else "cache_params"
    with torch.no_grad():
        output = of.model(**inputs, **{name: cache}, use_cache=True)
    found: object = getattr(output, name)
    return found


def fresh(of: Subject) -> object:
    """Return an empty cache as the worker makes it; encoder-decoders make their own pair."""
    return None if of.model.config.is_encoder_decoder else transformers.DynamicCache(config=of.model.config)


def kept(of: Subject, context: int, least: Callable[[int], int]) -> int:
    """Return the plan's bytes where a layer with a window keeps so many tokens, and cross attention keeps the encoder's."""
    total = 0
    for at, part in enumerate(of.planned(context)):
        tokens = of.prompt if part.name == "cross_cache" else context
        if part.window is not None:
            tokens = min(context, least(part.window))
        total += of.planned(tokens)[at].bytes if tokens else 0
    return total


@pytest.mark.parametrize("architecture", GENERATORS)
def test_a_prompt_takes_what_is_planned(architecture: str, record_property: Callable[[str, object], None]) -> None:
    """After a prompt as long as the context, the storages under the cache's tensors are the plan's bytes.

    Layers with a window show their last tokens only, as views of the whole prompt's storage (``DynamicSlidingWindowLayer.update``
    in transformers 5.23), which is why the plan deducts nothing.
    """
    seed = random.randrange(2**32)
    record_property("seed", seed)
    of = subject(architecture, seed)
    shown, stored = held_bytes(step(of, of.prompt, fresh(of)))
    assert stored == sum(part.bytes for part in of.planned(of.prompt)), f"seed {seed}: {of.text}"
    assert shown == kept(of, of.prompt, lambda window: window - 1), f"seed {seed}: {of.text}"


@pytest.mark.parametrize("kind", KINDS)
def test_further_tokens_by_kind(kind: str) -> None:
    """Token by token past every window: full layers grow, windows hold as many tokens as they are wide, states and cross stay.

    The step's concatenation of the window less one token and the new one is the storage; the tensor shows the last window less one.
    """
    seed = random.randrange(2**32)
    for architecture in KINDS[kind]:
        of = subject(architecture, seed)
        cache = step(of, of.prompt, fresh(of))
        for more in range(1, 10):
            cache = step(of, 1, cache)
            shown, stored = held_bytes(cache)
            context = of.prompt + more
            assert stored == kept(of, context, lambda window: window), f"seed {seed}, {more} more: {of.text}"
            assert shown == kept(of, context, lambda window: window - 1), f"seed {seed}, {more} more: {of.text}"
            assert stored <= sum(part.bytes for part in of.planned(context))


@pytest.mark.parametrize("kind", ["MHA", "GQA", "MQA", "MLA", "window", "windows by a pattern"])
def test_a_cache_made_beforehand(kind: str) -> None:
    """A static cache, which the worker does not use, has the whole context from the first step on, and windows at their width."""
    seed = random.randrange(2**32)
    for architecture in KINDS[kind]:
        of = subject(architecture, seed)
        cache = step(of, of.prompt, transformers.StaticCache(config=of.model.config, max_cache_len=19))
        assert held_bytes(cache)[1] == kept(of, 19, lambda window: window), f"seed {seed}: {of.text}"


@pytest.mark.parametrize("architecture", ["BertModel", "T5EncoderModel", "ModernBertModel"])
def test_encoders_keep_nothing(architecture: str) -> None:
    """An encoder's plan has no cache, and its output has none."""
    of = subject(architecture, random.randrange(2**32))
    with torch.no_grad():
        output = of.model(input_ids=torch.tensor([[3] * of.prompt]))
    assert getattr(output, "past_key_values", None) is None
    assert of.planned(of.prompt) == []
