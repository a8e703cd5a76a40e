"""GGUF files: the format's table of types, and files that the `gguf` package wrote."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echoplaned import _allocator
from echoplaned.core.errors import DaemonError, FieldInvalidError, SourceCorruptError
from echoplaned.core.facts import Task
from echoplaned.core.spec import ShapeRequest
from echoplaned.planning import size_model, survey_model

gguf = pytest.importorskip("gguf", reason="the gguf package is not installed")


def test_bytes_of_every_type() -> None:
    """Numbers, names, elements and bytes of a block are those of the package's own table, none more and none less."""
    ours = {(name, number): (elements, size) for number, name, elements, size in _allocator.gguf_kinds()}
    theirs = {(kind.name, int(kind)): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert ours == theirs


def write(path: Path, kind: Any, *, layers: int = 2, kv_heads: int | list[int] = 2) -> int:
    """Write a small Llama with matrices of one type; return its tensors' bytes."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(512)
    writer.add_embedding_length(256)
    writer.add_feed_forward_length(512)
    writer.add_head_count(4)
    writer.add_head_count_kv(kv_heads)
    writer.add_token_list([f"token{number}" for number in range(300)])
    total = 0
    shapes = {"token_embd.weight": (300, 256), "output_norm.weight": (256,)}
    for layer in range(layers):
        shapes |= {f"blk.{layer}.attn_q.weight": (256, 256), f"blk.{layer}.ffn_up.weight": (512, 256)}
    for name, shape in shapes.items():
        if len(shape) == 1:
            writer.add_tensor(name, np.zeros(shape, dtype=np.float32))
            total += 4 * shape[0]
            continue
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        raw = np.zeros((shape[0], shape[1] // elements * size), dtype=np.uint8)
        writer.add_tensor(name, raw, raw_dtype=kind)
        total += raw.size
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return total


@pytest.mark.parametrize("kind", [one for one in gguf.GGML_QUANT_SIZES if one.name[0] in "QIMTN" and len(one.name) > 3])
def test_files_that_the_package_wrote(kind: Any, tmp_path: Path) -> None:
    """Bytes are the tensor table's, whatever the type; dimensions and the cache come from the keys."""
    path = tmp_path / "model.gguf"
    total = write(path, kind)
    checkpoint = survey_model(path)
    facts = checkpoint.facts
    assert (facts.architecture, facts.task, facts.weights_bytes) == ("llama", Task.GENERATION, total)
    assert facts.parameter_count == 300 * 256 + 256 + 2 * (256 * 256 + 512 * 256)
    assert (facts.max_context_length, checkpoint.weight_format) == (512, kind.name)
    sized = size_model(path, ShapeRequest(engine="llama.cpp", max_concurrency=1))
    assert sum(part.bytes for part in sized.components if part.name == "weights") == total
    assert sized.kv_bytes_per_token == 2 * 2 * 2 * 64 * 2


def test_a_directory_with_one_file(tmp_path: Path) -> None:
    """Without a config, the one GGUF file is the model; of several, one must be named."""
    write(tmp_path / "a.gguf", gguf.GGMLQuantizationType.Q4_0, kv_heads=[1, 4])
    checkpoint = survey_model(tmp_path)
    assert checkpoint.weight_format == "Q4_0"
    assert size_model(checkpoint, ShapeRequest(engine="llama.cpp")).kv_bytes_per_token == 2 * (1 + 4) * 64 * 2
    write(tmp_path / "b.gguf", gguf.GGMLQuantizationType.Q8_0)
    with pytest.raises(SourceCorruptError, match="several GGUF files"):
        survey_model(tmp_path)


def test_a_file_that_is_cut(tmp_path: Path) -> None:
    """Nothing is believed that the file's length does not bear out."""
    path = tmp_path / "model.gguf"
    write(path, gguf.GGMLQuantizationType.Q4_K)
    whole = path.read_bytes()
    for length in (0, 3, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DaemonError):
            survey_model(path)


def header(*keys: tuple[str, int, bytes], tensors: int = 0) -> bytes:
    """Return the beginning of a GGUF file: its keys by name, type and value, and no tensor table."""
    text = b"GGUF" + struct.pack("<IQQ", 3, tensors, len(keys))
    for name, kind, value in keys:
        text += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind) + value
    return text


def text(value: bytes) -> bytes:
    """Return a string's value."""
    return struct.pack("<Q", len(value)) + value


ARCHITECTURE = ("general.architecture", 8, text(b"llama"))
SOON_S = 1.0


def refused(path: Path) -> tuple[str, float]:
    """Survey a file that must be refused; return what is said and the seconds that took."""
    began = time.monotonic()
    with pytest.raises(SourceCorruptError) as caught:
        survey_model(path)
    return str(caught.value), time.monotonic() - began


def test_a_string_of_20_gib_in_a_file_of_some_bytes(tmp_path: Path) -> None:
    """A hole costs its owner nothing; the header is bounded, so that reading it costs nothing either."""
    path = tmp_path / "m.gguf"
    for kind, value in ((8, struct.pack("<Q", 20 << 30)), (9, struct.pack("<IQQ", 8, 1, 20 << 30))):
        path.write_bytes(header(ARCHITECTURE, ("general.description", kind, value)))
        with path.open("r+b") as file:
            file.truncate(21 << 30)
        said, seconds = refused(path)
        assert "the header is" in said
        assert seconds < SOON_S


def test_2_to_the_63_heads_without_tensors(tmp_path: Path) -> None:
    """Numbers are bounded, in one value and in a list of them; without tensors there is nothing that could fit."""
    path = tmp_path / "m.gguf"
    sizes = [("llama.block_count", 4, struct.pack("<I", 1)), ("llama.embedding_length", 4, struct.pack("<I", 64))]
    for heads in ((10, struct.pack("<Q", 2**63)), (9, struct.pack("<IQQ", 10, 1, 2**63)), (4, struct.pack("<I", 4))):
        path.write_bytes(header(ARCHITECTURE, *sizes, ("llama.attention.head_count", *heads)) + bytes(64))
        said, seconds = refused(path)
        assert "tensor table" in said or "2147483648" in said
        assert seconds < SOON_S


def test_a_pipe_with_the_name_of_a_gguf_file(tmp_path: Path) -> None:
    """It is refused, and nobody waits for a writer, whether it is named or found in a directory."""
    os.mkfifo(tmp_path / "m.gguf")
    for path in (tmp_path / "m.gguf", tmp_path):
        said, seconds = refused(path)
        assert "regular file" in said
        assert seconds < SOON_S


@pytest.mark.parametrize(("tensor_parallel", "pipeline_parallel"), [(4096, 4096), (64, 128), (4096, 2)])
def test_ranks_times_stages_are_bounded(tmp_path: Path, tensor_parallel: int, pipeline_parallel: int) -> None:
    """Each was 4,096 at most, and both together took 29 s and 3.5 GB; an engine's kind bounds each to 64."""
    path = tmp_path / "model.gguf"
    write(path, gguf.GGMLQuantizationType.F16)
    options = (("pipeline_parallel", str(pipeline_parallel)), ("tensor_parallel", str(tensor_parallel)))
    began = time.monotonic()
    with pytest.raises(FieldInvalidError, match="must be a whole number from 1 to 64"):
        size_model(path, ShapeRequest(engine="vllm", options=options))
    assert time.monotonic() - began < SOON_S
