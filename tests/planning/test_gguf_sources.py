"""GGUF files as sources: what is recorded of a file is what was planned, and a link to one keeps its name."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from echoplaned.core.errors import (
    SourceChangedError,
    SourceCorruptError,
    SourceNotAllowedError,
    SourceUnsupportedError,
)
from echoplaned.core.spec import ReservoirOverrides, ShapeRequest
from echoplaned.core.state import State
from echoplaned.planning import gguf, host_device
from echoplaned.planning.adapter import Allocator
from echoplaned.planning.inspection import Checkpoint, survey_model
from echoplaned.ports.planning import SizeQuestion
from echoplaned.ports.stop import Stop
from echoplaned.testing.builders import MIB

HOST = State(devices=(host_device(8192 * MIB),))


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
    with pytest.raises(SourceCorruptError, match=r"m-00002-of-00024\.gguf: .* more than 268435456 bytes of headers"):
        Allocator((tmp_path,)).inspect("file:m-00001-of-00024.gguf", "llama_cpp")


def asked_size(uri: str) -> SizeQuestion:
    """Return what PlanModel asks of a source."""
    return SizeQuestion(uri, ShapeRequest(engine="llama_cpp"), ReservoirOverrides())


HUB = "models--org--name"
PARTS = ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with a hub's directory: a whole file and a split one, each a link to a blob without a suffix."""
    root = tmp_path.resolve() / "root"
    snapshot, blobs = root / HUB / "snapshots" / "abc", root / HUB / "blobs"
    for folder in (snapshot, blobs, root / HUB / "refs"):
        folder.mkdir(parents=True)
    (root / HUB / "refs" / "main").write_text("abc")
    for name, content in (
        ("whole.gguf", gguf_file()),
        (PARTS[0], gguf_file(["a"], parts=2)),
        (PARTS[1], gguf_file(["b"], parts=2)),
        ("mmproj.gguf", gguf_file()),
    ):
        (blobs / f"blob-{name.removesuffix('.gguf')}").write_bytes(content)
        (snapshot / name).symlink_to(Path("..", "..", "blobs", f"blob-{name.removesuffix('.gguf')}"))
    return root


@pytest.mark.parametrize(("name", "files"), [("whole.gguf", ("whole.gguf",)), (PARTS[0], PARTS), (PARTS[1], PARTS)])
def test_a_file_of_a_hub_keeps_its_name(root: Path, name: str, files: tuple[str, ...]) -> None:
    """It is a link to a blob: the format and the other parts go by the link's name, and the blobs are what is read."""
    allocator = Allocator((root,))
    uri = f"file:{HUB}/snapshots/abc/{name}"
    found = allocator.inspect(uri, "llama_cpp")
    assert found.path == str(root / HUB / "snapshots" / "abc" / name)
    content = found.facts.content
    assert content is not None
    assert [(file.name, file.path) for file in content.files] == [
        (file, f"{HUB}/blobs/blob-{file.removesuffix('.gguf')}") for file in files
    ]
    assert allocator.digest(found, Stop()).digest.startswith("blake3:")
    plan = allocator.size(asked_size(uri), HOST)
    assert plan.parameter_count == found.facts.parameter_count == 8 * len(files)


def test_a_directory_is_told_the_file_to_give(root: Path) -> None:
    """What the refusal names can be given as it is: the first model, not a projector."""
    allocator = Allocator((root,))
    with pytest.raises(SourceUnsupportedError) as caught:
        allocator.inspect(f"file:{HUB}", "llama_cpp")
    advice = str(caught.value).rpartition(" ")[2]
    assert advice == f"file:{HUB}/snapshots/abc/{PARTS[0]}"
    assert allocator.inspect(advice, "llama_cpp").facts.parameter_count == 16


@pytest.mark.parametrize("target", ["secret.gguf", "secret"])
@pytest.mark.parametrize("name", ["whole.gguf", PARTS[1]])
def test_no_link_leads_out_of_the_root(root: Path, name: str, target: str) -> None:
    """Neither the file's own nor that of a part beside it, in a load and in a plan."""
    (root.parent / target).write_bytes(gguf_file(["b"], parts=1 if name == "whole.gguf" else 2))
    link = root / HUB / "snapshots" / "abc" / name
    link.unlink()
    link.symlink_to(root.parent / target)
    allocator = Allocator((root,))
    for asked in dict.fromkeys((name, PARTS[0] if name in PARTS else name)):
        uri = f"file:{HUB}/snapshots/abc/{asked}"
        with pytest.raises(SourceNotAllowedError):
            allocator.inspect(uri, "llama_cpp")
        with pytest.raises(SourceNotAllowedError):
            allocator.size(asked_size(uri), HOST)


def test_links_between_roots(root: Path, tmp_path: Path) -> None:
    """A root that holds link and target counts; else the file goes by the target's name, which must then be a GGUF file's."""
    blobs, snapshot, other = (root / HUB / name for name in ("blobs", "snapshots", "other"))
    allocator = Allocator((snapshot, root))
    assert allocator.inspect(str(snapshot / "abc" / "whole.gguf"), "llama_cpp").path.endswith("abc/whole.gguf")
    with pytest.raises(SourceNotAllowedError, match=r"whole\.gguf leads out of the allowed root"):
        Allocator((snapshot, blobs)).inspect(str(snapshot / "abc" / "whole.gguf"), "llama_cpp")
    other.mkdir()
    (other / "real.gguf").write_bytes(gguf_file())
    for name in ("alias.gguf", "alias"):
        (snapshot / name).symlink_to(other / "real.gguf")
        found = Allocator((snapshot, other)).inspect(str(snapshot / name), "llama_cpp")
        assert found.path == str(other / "real.gguf")
    # A folder outside, with a link back to a blob: by its name the file would lie beneath no root.
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "m.gguf").symlink_to(blobs / "blob-whole")
    (root / "folder").symlink_to(tmp_path / "away")
    with pytest.raises(SourceNotAllowedError, match="not beneath an allowed root"):
        Allocator((root,)).inspect("file:folder/m.gguf", "llama_cpp")
