"""Checkpoints that consist of true headers and holes: a safetensors file and a GGUF file as large as the model's, without weights.

The tensors are those of transformers' class on the meta device. Every tensor is BF16, also those that llama.cpp would keep in FP32,
so that one truth holds for all formats.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np

Shapes = Mapping[str, tuple[int, ...]]

_ELEMENT_BYTES: Final = 2
_ARCHITECTURES: Final = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "mixtral": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "gemma2": gguf.MODEL_ARCH.GEMMA2,
    "gpt2": gguf.MODEL_ARCH.GPT2,
    "deepseek_v2": gguf.MODEL_ARCH.DEEPSEEK2,
    "falcon_mamba": gguf.MODEL_ARCH.MAMBA,
}


def write_safetensors(path: Path, shapes: Shapes) -> None:
    """Write a header, and a hole as large as its tensors."""
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + prod(shape) * _ELEMENT_BYTES
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def write_gguf(path: Path, config: Any, shapes: Shapes) -> None:  # noqa: ANN401 - a config of any of transformers' classes
    """Write metadata and a tensor table as llama.cpp's converter names them, and a hole."""
    architecture = _ARCHITECTURES[config.model_type]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    _metadata(writer, config)
    _tokenizer(writer, config.vocab_size)
    data_bytes = 0
    for name, shape in _renamed(architecture, config, shapes):
        size = prod(shape) * _ELEMENT_BYTES
        writer.add_tensor_info(name, shape, np.dtype(np.float16), size, raw_dtype=gguf.GGMLQuantizationType.BF16)
        data_bytes += gguf.GGUFWriter.ggml_pad(size, writer.data_alignment)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    end = gguf.GGUFWriter.ggml_pad(path.stat().st_size, writer.data_alignment)
    with path.open("r+b") as file:
        file.truncate(end + data_bytes)


def _renamed(architecture: gguf.MODEL_ARCH, config: Any, shapes: Shapes) -> Iterator[tuple[str, tuple[int, ...]]]:  # noqa: ANN401 - as above
    """Give each tensor llama.cpp's name, and in two what it holds in two."""
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)

    def called(name: str) -> str:
        found: str | None = names.get_name(name, (".weight", ".bias"))
        if found is None:
            raise LookupError(f"llama.cpp has no name for {name}")
        return found

    for name, shape in shapes.items():
        if name.endswith("experts.gate_up_proj"):
            half = (shape[0], shape[1] // 2, *shape[2:])
            yield called(name.replace("gate_up_proj", "gate_proj")) + ".weight", half
            yield called(name.replace("gate_up_proj", "up_proj")) + ".weight", half
        elif name.endswith("kv_b_proj.weight"):
            heads, rank = config.num_attention_heads, config.kv_lora_rank
            block = called(name).removesuffix("attn_kv_b.weight")
            yield f"{block}attn_k_b.weight", (heads, rank, config.qk_nope_head_dim)
            yield f"{block}attn_v_b.weight", (heads, config.v_head_dim, rank)
        else:
            yield called(name) + (".weight" if name.endswith("down_proj") else ""), shape


def _metadata(writer: gguf.GGUFWriter, config: Any) -> None:  # noqa: ANN401 - as above
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(getattr(config, "max_position_embeddings", 1 << 20))
    writer.add_embedding_length(config.hidden_size)
    writer.add_vocab_size(config.vocab_size)
    if config.model_type == "falcon_mamba":
        writer.add_feed_forward_length(0)
        writer.add_head_count(0)
        writer.add_ssm_conv_kernel(config.conv_kernel)
        writer.add_ssm_inner_size(config.intermediate_size)
        writer.add_ssm_state_size(config.state_size)
        writer.add_ssm_time_step_rank(config.time_step_rank)
        return
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer.add_feed_forward_length(getattr(config, "intermediate_size", None) or 4 * config.hidden_size)
    writer.add_head_count(heads)
    if config.model_type == "deepseek_v2":
        _latent(writer, config)
        return
    writer.add_head_count_kv(getattr(config, "num_key_value_heads", heads))
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    if config.model_type == "mixtral":
        writer.add_expert_count(config.num_local_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    if config.model_type == "gemma2":
        writer.add_sliding_window(config.sliding_window)


def _latent(writer: gguf.GGUFWriter, config: Any) -> None:  # noqa: ANN401 - as above
    """Write down MLA as the converter does since it keeps the compressed vectors: one head, as wide as those."""
    rotary = config.qk_rope_head_dim
    writer.add_head_count_kv(1)
    writer.add_kv_lora_rank(config.kv_lora_rank)
    writer.add_key_length(config.kv_lora_rank + rotary)
    writer.add_value_length(config.kv_lora_rank)
    writer.add_key_length_mla(config.qk_nope_head_dim + rotary)
    writer.add_value_length_mla(config.v_head_dim)
    writer.add_rope_dimension_count(rotary)
    writer.add_expert_count(config.n_routed_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_expert_shared_count(config.n_shared_experts)
    writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    writer.add_leading_dense_block_count(config.first_k_dense_replace)


def _tokenizer(writer: gguf.GGUFWriter, tokens: int) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([str(at) for at in range(tokens)])
