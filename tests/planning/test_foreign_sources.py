"""Sources of foreign engines: a real GGUF file beneath a root, and an engine of which nothing is known."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from echoplaned.core.errors import (
    DaemonError,
    FieldInvalidError,
    SourceCorruptError,
    SourceNotAllowedError,
    SourceUnsupportedError,
)
from echoplaned.core.facts import Dtype
from echoplaned.core.plan import Plan
from echoplaned.core.spec import ServingShape, ShapeRequest, VersionSpec
from echoplaned.core.state import State
from echoplaned.planning import devices_of, fit_fleet, host_device, plan_offline, survey_model
from echoplaned.planning.adapter import Allocator
from echoplaned.ports.planning import InspectedSource, PlanQuestion
from echoplaned.ports.stop import Stop
from echoplaned.rpc.version_request import VersionRequest, new_spec
from echoplaned.testing.builders import MIB
from tests.engines.llama_parts import model_file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with the model in it."""
    folder = tmp_path.resolve() / "models"
    folder.mkdir()
    shutil.copy(model_file(), folder / "m.gguf")
    return folder


def plan_of(root: Path, found: InspectedSource, shape: ServingShape) -> Plan:
    """Plan a source on a host of 8 GiB."""
    spec = VersionSpec(found.path, found.path, found.facts.digest, shape)
    return Allocator((root,)).plan(PlanQuestion(spec, found.facts), State(devices=(host_device(8192 * MIB),)))


def test_a_gguf_file_is_inspected_digested_and_planned(root: Path) -> None:
    """Its header says what it is; its weights are planned as they are packed, its cache by the options."""
    allocator = Allocator((root,))
    found = allocator.inspect(f"file://{root}/m.gguf", "llama_cpp")
    assert (found.path, found.weights_format) == (str(root / "m.gguf"), "Q4_1")
    assert found.facts.content is not None
    assert [file.name for file in found.facts.content.files] == ["m.gguf"]
    facts = allocator.digest(found, Stop())
    assert facts.digest.startswith("blake3:")
    shape = ServingShape(Dtype.BF16, 1024, 2, "llama_cpp", weights_format="Q4_1")
    plan = plan_of(root, found, shape)
    assert plan.fits
    assert plan.serves
    bytes_of = {part.name: part.bytes for part in plan.components}
    assert bytes_of["weights"] == facts.weights_bytes
    quarter = plan_of(root, found, replace(shape, options=(("kv_dtype", "Q4_0"),)))
    assert {part.name: part.bytes for part in quarter.components}["kv_cache"] < bytes_of["kv_cache"] / 3
    labelled = plan_of(root, found, replace(shape, engine="llama_cpp-next"))
    assert labelled.bytes == plan.bytes


def test_a_dtype_is_refused_where_the_file_decides(root: Path) -> None:
    """What the caller leaves out is what the file has."""
    found = Allocator((root,)).inspect(str(root / "m.gguf"), "llama_cpp")
    asked = VersionRequest("m", "", found.path, ShapeRequest(engine="llama_cpp", context_length=512), None)
    assert new_spec(asked, found, 4).shape.weights_format == "Q4_1"
    with pytest.raises(FieldInvalidError, match="leave dtype out"):
        new_spec(replace(asked, shape=replace(asked.shape, dtype=Dtype.FP16)), found, 4)


def test_each_engine_reads_its_own_format(root: Path, minilm: Path) -> None:
    """The embedded engine names the one that reads GGUF, and that one wants the file itself."""
    with pytest.raises(SourceUnsupportedError, match="--engine llama_cpp"):
        Allocator((root,)).inspect(str(root / "m.gguf"))
    # A plan names the engine by the same name as a load does: no daemon has one that is called llama.cpp.
    for engine in ("", "vllm"):
        here = plan_offline(root / "m.gguf", ShapeRequest(engine=engine, context_length=512))
        assert (here.serves, "`--engine llama_cpp` reads" in here.serves_detail) == (False, True)
    with pytest.raises(SourceUnsupportedError, match="give the file itself"):
        Allocator((minilm.parent,)).inspect(str(minilm), "llama_cpp")


def test_an_engine_is_the_same_by_the_name_that_it_is_sized_under(root: Path) -> None:
    """`llama.cpp` is not split over devices, as `llama_cpp` is not: no plan offers what no load takes."""
    path, whole = root / "m.gguf", devices_of("80GiB:4")
    needed = plan_offline(path, ShapeRequest(engine="llama_cpp", context_length=512), whole).upper_bytes
    small = tuple(replace(one, capacity_bytes=needed - 1, reserve_bytes=0) for one in whole)
    found = []
    for engine in ("llama_cpp", "llama.cpp"):
        shape = ShapeRequest(engine=engine, context_length=512)
        plan, rows = plan_offline(path, shape, small), fit_fleet(survey_model(path), whole, shape)
        assert not plan.fits
        assert {one.action for one in plan.alternatives} == {"fewer_sequences", "shorter_context"}
        found.append((plan.alternatives, rows))
    assert found[0] == found[1]
    assert [one.ranks for one in found[0][1]] == [1]


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + b"\xff" * 60])
def test_a_file_that_is_no_gguf_is_refused(content: bytes, root: Path) -> None:
    """Before any engine is started for it."""
    (root / "bad.gguf").write_bytes(content)
    with pytest.raises(DaemonError):
        Allocator((root,)).inspect(str(root / "bad.gguf"), "llama_cpp")


def test_neither_links_out_of_a_root_nor_other_files_are_sources(root: Path, tmp_path: Path) -> None:
    """A GGUF file is a source by its name and as a regular file, wherever a link to it lies."""
    (tmp_path / "outside.gguf").write_bytes(b"GGUF")
    (root / "link.gguf").symlink_to(tmp_path / "outside.gguf")
    os.mkfifo(root / "pipe.gguf")
    (root / "notes.txt").write_text("no model")
    allocator = Allocator((root,))
    with pytest.raises(SourceNotAllowedError):
        allocator.inspect(str(root / "link.gguf"), "llama_cpp")
    for name in ("pipe.gguf", "notes.txt"):
        with pytest.raises(SourceCorruptError):
            allocator.inspect(str(root / name), "llama_cpp")


def test_a_command_takes_what_its_load_says(root: Path) -> None:
    """Nothing else is known of it: without a figure it is refused by the option's name."""
    found = Allocator((root,)).inspect(str(root / "m.gguf"), "command")
    shape = ServingShape(Dtype.BF16, 512, 2, "command", options=(("memory_bytes", str(300 * MIB)),))
    plan = plan_of(root, found, shape)
    assert plan.fits
    assert {part.name: part.bytes for part in plan.components}["declared"] == 300 * MIB
    assert not plan_of(root, found, replace(shape, options=(("memory_bytes", str(9000 * MIB)),))).fits
    with pytest.raises(FieldInvalidError, match="memory_bytes"):
        plan_of(root, found, replace(shape, options=()))
