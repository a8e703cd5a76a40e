"""GGUF files as sources: what is recorded of a file is what was planned."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from echoplaned.core.errors import SourceChangedError, SourceCorruptError
from echoplaned.planning import gguf
from echoplaned.planning.adapter import Allocator
from echoplaned.planning.inspection import Checkpoint, survey_model
from echoplaned.ports.stop import Stop

SOON_S = 2.0


def text(value: bytes) -> bytes:
    """Return a string as the format has it."""
    return struct.pack("<Q", len(value)) + value


def gguf_file(tensors: Sequence[str] = ("token_embd.weight",), *, parts: int = 1, elements: int = 8) -> bytes:
    """Return a file of a small Llama, or one of several parts, with fp32 tensors of these names."""
    keys = [(b"general.architecture", 8, text(b"llama"))]
    numbers = {"block_count": 1, "embedding_length": 64, "attention.head_count": 1, "vocab_size": 64}
    keys += [(f"llama.{name}".encode(), 4, struct.pack("<I", number)) for name, number in numbers.items()]
    keys.append((b"split.count", 4, struct.pack("<I", parts)))
    out = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)))
    for name, kind, value in keys:
        out += text(name) + struct.pack("<I", kind) + value
    for index, tensor in enumerate(tensors):
        out += text(tensor.encode()) + struct.pack("<IQIQ", 1, elements, 0, index * 4 * elements)
    return bytes(out + bytes(-len(out) % 32 + 4 * elements * len(tensors)))


def test_a_file_that_is_exchanged_while_it_is_inspected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan and identity are of one file, and the digest of the other one is refused."""
    path, other = tmp_path / "m.gguf", tmp_path / "other"
    path.write_bytes(gguf_file())
    other.write_bytes(gguf_file(elements=8_000))
    read = path.stat()

    def survey_then_exchange(path: Path, *, allowed_root: Path | None = None) -> Checkpoint:
        checkpoint = survey_model(path, allowed_root=allowed_root)
        os.replace(other, path)  # noqa: PTH105 - as whoever publishes a file does
        return checkpoint

    monkeypatch.setattr(gguf, "survey_model", survey_then_exchange)
    allocator = Allocator((tmp_path,))
    found = allocator.inspect("file:m.gguf", "llama_cpp")
    assert found.facts.weights_bytes == 4 * 8
    assert found.facts.content is not None
    (file,) = found.facts.content.files
    assert (file.size_bytes, file.inode) == (read.st_size, read.st_ino)
    with pytest.raises(SourceChangedError):
        allocator.digest(found, Stop())


def test_parts_of_holes_are_refused_soon(tmp_path: Path) -> None:
    """What one file may have is not multiplied by its parts: 24 links to 4 KiB on disk held a thread for seven seconds."""
    items, parts = 1 << 24, 24
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, 3)
    header += text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
    header += text(b"split.count") + struct.pack("<II", 4, parts)
    header += text(b"x") + struct.pack("<IIQ", 9, 9, items)
    with (tmp_path / "blob").open("wb") as file:
        file.write(header)
        file.truncate(len(header) + 12 * items + 64)
    for number in range(1, parts + 1):
        (tmp_path / f"m-{number:05}-of-{parts:05}.gguf").hardlink_to(tmp_path / "blob")
    began = time.monotonic()
    with pytest.raises(SourceCorruptError, match=r"m-00002-of-00024\.gguf: .* more than 268435456 bytes of headers"):
        Allocator((tmp_path,)).inspect("file:m-00001-of-00024.gguf", "llama_cpp")
    assert time.monotonic() - began < SOON_S
