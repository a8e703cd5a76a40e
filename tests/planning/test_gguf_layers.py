"""GGUF files as llama.cpp reads them: layers that differ, parts of one file, projectors, mixtures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echoplaned.core.errors import SourceCorruptError
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import plan_offline, size_model, survey_model

gguf = pytest.importorskip("gguf", reason="the gguf package is not installed")

WHOLE = ShapeRequest(engine="llama.cpp", context_length=4096, max_concurrency=1)


def write(path: Path, architecture: str, keys: dict[str, Any], *, kind: str = "F16", parts: int = 0) -> Path:
    """Write eight layers of four heads, with further keys; ``parts``: tensors of each part."""
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=parts)
    writer.add_block_count(8)
    writer.add_context_length(4096)
    writer.add_embedding_length(256)
    writer.add_feed_forward_length(512)
    writer.add_head_count(4)
    for name, value in keys.items():
        full = name if name.startswith("general.") else f"{architecture}.{name}"
        if isinstance(value, list):
            writer.add_array(full, value)
        elif isinstance(value, str):
            writer.add_string(full, value)
        else:
            writer.add_uint32(full, value)
    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    for name in ("token_embd.weight", "blk.0.attn_q.weight", "blk.1.attn_q.weight"):
        raw = np.zeros((256, 256 // elements * size), dtype=np.uint8)
        writer.add_tensor(name, raw, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def parts_of(path: Path) -> tuple[int, int, int]:
    """Return bytes of a token, of keys and values, and of states."""
    sized = size_model(path, WHOLE)
    found = {part.name: part.bytes for part in sized.components}
    return sized.kv_bytes_per_token, found.get("kv_cache", 0), found.get("state_cache", 0)


STATE = {"ssm.conv_kernel": 4, "ssm.inner_size": 64, "ssm.state_size": 16, "ssm.group_count": 2}
# Convolution of 3 inputs over 64 channels and twice two groups' states, and a matrix, in fp32.
STATE_BYTES = 4 * (3 * (64 + 2 * 2 * 16) + 64 * 16)
TOKEN = 2 * 2 * 64 * 2


@pytest.mark.parametrize(
    ("architecture", "keys", "expected"),
    [
        ("llama", {}, (8 * TOKEN, 8 * TOKEN * 4096, 0)),
        ("qwen35", {"full_attention_interval": 4, **STATE}, (2 * TOKEN, 2 * TOKEN * 4096, 6 * STATE_BYTES)),
        ("granitehybrid", {"attention.head_count_kv": [0, 0, 0, 2] * 2, **STATE}, (2 * TOKEN, 2 * TOKEN * 4096, 6 * STATE_BYTES)),
        # A window of 300 and a batch of 512 take four pages of 256 tokens.
        ("gemma2", {"attention.sliding_window": 300}, (8 * TOKEN, 4 * TOKEN * (4096 + 1024), 0)),
        ("gemma3", {"attention.sliding_window": 300}, (8 * TOKEN, TOKEN * (4096 + 7 * 1024), 0)),
        (
            "gemma4",
            {
                "attention.sliding_window": 300,
                "attention.sliding_window_pattern": [True, True, True, False] * 2,
                "attention.key_length": 64,
                "attention.value_length": 64,
                "attention.key_length_swa": 32,
                "attention.value_length_swa": 32,
            },
            (2 * TOKEN + 6 * TOKEN // 2, 2 * TOKEN * 4096 + 6 * TOKEN // 2 * 1024, 0),
        ),
    ],
)  # fmt: skip
def test_layers_keep_what_the_keys_say(
    tmp_path: Path, architecture: str, keys: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    """Intervals, heads a layer and windows are read; every layer has pages of its own."""
    whole = {"attention.head_count_kv": 2, **keys}
    assert parts_of(write(tmp_path / "model.gguf", architecture, whole)) == expected


def test_parts_are_read_as_one(tmp_path: Path) -> None:
    """Any part, or the directory, stands for all of them; one that is missing is named."""
    for name in ("one", "many"):
        (tmp_path / name).mkdir()
    write(tmp_path / "one" / "model.gguf", "llama", {})
    write(tmp_path / "many" / "model.gguf", "llama", {}, parts=1)
    names = sorted(path.name for path in (tmp_path / "many").iterdir())
    assert names == [f"model-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    whole = survey_model(tmp_path / "one" / "model.gguf").facts
    for source in (tmp_path / "many", *(tmp_path / "many" / name for name in names)):
        found = survey_model(source)
        assert found.facts == whole
        assert list(found.files) == names
    (tmp_path / "many" / names[2]).unlink()
    with pytest.raises(SourceCorruptError, match=names[2]):
        survey_model(tmp_path / "many" / names[0])


def test_a_mixture_is_called_by_its_name(tmp_path: Path) -> None:
    """The file's own name for a mixture of types is told; its bytes are the tensors'."""
    path = write(tmp_path / "model.gguf", "llama", {"general.file_type": 15}, kind="Q4_K")
    found = survey_model(path)
    assert found.weight_format == "Q4_K_M"
    assert found.facts.weights_bytes == 3 * 256 * 144
    plan = plan_offline(path, WHOLE)
    assert (plan.weight_format, plan.serves) == ("Q4_K_M", True)
    embedded = plan_offline(path)
    assert (embedded.serves, embedded.serves_reason) == (False, "SOURCE_UNSUPPORTED")


def test_a_projector_is_called_one(tmp_path: Path) -> None:
    """It keeps nothing between calls, and beside a model it does not count as one."""
    write(tmp_path / "model.gguf", "llama", {})
    projector = write(tmp_path / "mmproj-model.gguf", "clip", {"general.type": "mmproj"})
    found = survey_model(projector)
    assert any("mmproj" in text for text in found.native.warnings)
    assert size_model(projector, ShapeRequest(engine="llama.cpp", context_length=1024)).kv_bytes_per_token == 0
    assert survey_model(tmp_path).facts.architecture == "llama"
