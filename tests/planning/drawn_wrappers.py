"""Configs drawn at random for text models beside a vision tower."""

from __future__ import annotations

import random
from collections.abc import Mapping

from tests.planning.drawn import DRAWS, Draw
from tests.planning.drawn_fields import Fields


def _tower(kind: str, rng: random.Random) -> Fields:
    """Return a small tower of the usual fields."""
    heads = rng.choice((2, 4))
    return {
        "model_type": kind,
        "hidden_size": heads * 8 * rng.randint(1, 4),
        "intermediate_size": 8 * rng.randint(1, 9),
        "num_hidden_layers": rng.randint(1, 4),
        "num_attention_heads": heads,
        "image_size": 8 * rng.randint(2, 4),
        "patch_size": 8,
    }


def _siglip(rng: random.Random) -> Fields:
    return _tower("siglip_vision_model", rng) | {"vision_use_head": rng.random() < 0.5}


def _clip(rng: random.Random) -> Fields:
    return _tower("clip_vision_model", rng)


def _pixtral(rng: random.Random) -> Fields:
    return _tower("pixtral", rng)


def _qwen(rng: random.Random) -> Fields:
    heads = rng.choice((2, 4))
    width = heads * 8 * rng.randint(1, 4)
    shared = {"depth": rng.randint(1, 5), "num_heads": heads, "patch_size": 4, "spatial_merge_size": rng.choice((1, 2))}
    return shared | {"hidden_size": width, "intermediate_size": 8 * rng.randint(1, 9), "out_hidden_size": 64}


def _qwen_2(rng: random.Random) -> Fields:
    fields = _qwen(rng)
    width = fields.pop("hidden_size")
    del fields["intermediate_size"], fields["out_hidden_size"]
    return fields | {"embed_dim": width, "hidden_size": 64, "mlp_ratio": rng.randint(1, 4)}


def _qwen_3(rng: random.Random) -> Fields:
    marks = sorted(rng.sample(range(4), rng.randint(1, 3)))
    return _qwen(rng) | {"num_position_embeddings": rng.choice((16, 64)), "deepstack_visual_indexes": marks}


def _llama_4(rng: random.Random) -> Fields:
    inner = 16 * rng.randint(1, 4)
    adapter = {"projector_input_dim": inner, "projector_output_dim": inner, "vision_output_dim": inner}
    return _tower("llama4_vision_model", rng) | adapter | {"intermediate_size": inner * 4, "pixel_shuffle_ratio": 0.5}


def _wrapped(text: str, kind: str, vision: Draw, *, ties: bool = True) -> Draw:
    """Return a draw of a text model's fields and a tower's."""

    def draw(rng: random.Random) -> Fields:
        fields = DRAWS[text](rng)
        tied = fields.pop("tie_word_embeddings", False)
        whole: Fields = {"text_config": {"model_type": kind, **fields}, "vision_config": vision(rng)}
        return whole | ({"tie_word_embeddings": tied} if ties else {})

    return draw


WRAPPERS: Mapping[str, Draw] = {
    "Gemma3ForConditionalGeneration": _wrapped("Gemma3ForCausalLM", "gemma3_text", _siglip),
    "Idefics3ForConditionalGeneration": _wrapped(
        "LlamaForCausalLM", "llama", lambda rng: _tower("idefics3_vision", rng)
    ),
    "Llama4ForConditionalGeneration": _wrapped("Llama4ForCausalLM", "llama4_text", _llama_4),
    "LlavaForConditionalGeneration": _wrapped("LlamaForCausalLM", "llama", _clip),
    "Mistral3ForConditionalGeneration": _wrapped("MistralForCausalLM", "mistral", _pixtral),
    "PaliGemmaForConditionalGeneration": _wrapped("GemmaForCausalLM", "gemma", _siglip),
    "Qwen2VLForConditionalGeneration": _wrapped("Qwen2ForCausalLM", "qwen2_vl_text", _qwen_2),
    "Qwen2_5_VLForConditionalGeneration": _wrapped("Qwen2ForCausalLM", "qwen2_5_vl_text", _qwen),
    "Qwen3VLForConditionalGeneration": _wrapped("Qwen3ForCausalLM", "qwen3_vl_text", _qwen_3),
    "Qwen3VLMoeForConditionalGeneration": _wrapped("Qwen3MoeForCausalLM", "qwen3_vl_moe_text", _qwen_3),
}

FURTHER_TEXTS: Mapping[str, tuple[str, Draw]] = {
    "ministral3": ("Mistral3ForConditionalGeneration", _wrapped("MistralForCausalLM", "ministral3", _pixtral)),
    "mistral": ("LlavaForConditionalGeneration", _wrapped("MistralForCausalLM", "mistral", _pixtral)),
    "qwen2": ("LlavaForConditionalGeneration", _wrapped("Qwen2ForCausalLM", "qwen2", _siglip)),
    "qwen3": ("LlavaForConditionalGeneration", _wrapped("Qwen3ForCausalLM", "qwen3", _siglip)),
    "gemma": ("LlavaForConditionalGeneration", _wrapped("GemmaForCausalLM", "gemma", _clip)),
    "gemma2": ("PaliGemmaForConditionalGeneration", _wrapped("Gemma2ForCausalLM", "gemma2", _siglip)),
}
"""Text models of other classes than a wrapper's own, by their ``model_type``."""
