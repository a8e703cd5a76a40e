"""Engines that plans are made for and that nobody here starts: what they read."""

from __future__ import annotations

from typing import Final

LLAMA_CPP: Final = "llama.cpp"
"""Reads GGUF and nothing else."""

VLLM_METHODS: Final = frozenset(
    {
        "auto-round", "auto_round", "awq", "awq_marlin", "bitsandbytes", "compressed-tensors", "experts_int8", "fbgemm_fp8",
        "fp8", "gptq", "gptq_marlin", "hqq", "intel/auto-round", "modelopt", "modelopt_fp4", "modelopt_fp8", "modelopt_mixed",
        "mxfp4", "quark", "torchao",
    }
)  # fmt: skip
"""How weights may be packed for vLLM and its siblings, by the method that a config names (vLLM 0.32, `QUANTIZATION_METHODS`)."""
