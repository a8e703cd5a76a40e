"""Checkpoints that cost their owner nothing and their reader time: plans read headers, and what is hashed waits for nobody else."""

from __future__ import annotations

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from echoplane.errors import EchoplaneError
from echoplane.v1 import models_pb2, planning_pb2
from tests.e2e import e2e_system as e

VOCABULARY = 1 << 26
"""Rows of 128 numbers of 4 bytes: 32 GiB."""
EXPECTED = {"DEADLINE_EXCEEDED", "MEMORY_INSUFFICIENT"}
SOON_S = 10.0
"""For a plan of a small model on a busy machine; it takes milliseconds."""


def sparse(system: e.System, name: str) -> str:
    """Make a checkpoint of 32 GiB by its length and of some KiB on the disk; return its URI."""
    out = system.made.root / name
    if out.exists():
        return f"file:{name}"
    shutil.copytree(system.made.path("encoder"), out)
    header, _ = e.read_header(out)
    begin = 0
    for tensor, entry in header.items():
        if tensor == "__metadata__":
            continue
        if tensor.endswith("word_embeddings.weight"):
            entry["shape"][0] = VOCABULARY
        size = 4
        for extent in entry["shape"]:
            size *= extent
        size = size if entry["dtype"] == "F32" else size * 2
        entry["data_offsets"] = [begin, begin + size]
        begin += size
    e.write_header(out, header)
    weights = out / "model.safetensors"
    with weights.open("r+b") as file:
        file.truncate(weights.stat().st_size + begin)
    config = out / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "vocab_size": VOCABULARY}))
    assert weights.stat().st_blocks * 512 < 1 << 20
    return f"file:{name}"


def plan(system: e.System, uri: str, timeout_s: float = 60.0) -> float:
    """Ask for a plan; return the seconds that it took, answered or not."""
    began = time.monotonic()
    try:
        system.client.plan_model(planning_pb2.PlanModelRequest(source_uri=uri), timeout_s=timeout_s)
    except EchoplaneError as error:
        if error.reason not in EXPECTED:
            raise
    return time.monotonic() - began


def load(system: e.System, uri: str, model: str, timeout_s: float) -> float:
    """Ask for a load that only validates, which hashes the checkpoint; return the seconds that it took, answered or not."""
    request = models_pb2.LoadModelRequest(model_id=model, source_uri=uri, validate_only=True)
    began = time.monotonic()
    try:
        system.client.load_model(request, timeout_s=timeout_s)
    except EchoplaneError as error:
        if error.reason not in EXPECTED:
            raise
    return time.monotonic() - began


def test_plans_of_a_sparse_checkpoint(system: e.System) -> None:
    """Four plans of 32 GiB go on beside one of a small model, which does not wait for them; they end soon themselves."""
    big, small = sparse(system, "hole"), system.made.uri("encoder")
    plan(system, small)
    with ThreadPoolExecutor(5) as pool:
        others = [pool.submit(plan, system, big) for _ in range(4)]
        small_s = plan(system, small)
        big_s = max(other.result() for other in others)
    print(f"a small plan beside four of 32 GiB: {small_s:.3f} s, these {big_s:.3f} s")  # noqa: T201 - a figure
    assert small_s < SOON_S
    assert big_s < 2 * SOON_S


def test_plans_that_nobody_waits_for(system: e.System) -> None:
    """33 callers give up; the next plan finds nothing in its way."""
    big, small = sparse(system, "hole"), system.made.uri("encoder")
    with ThreadPoolExecutor(11) as pool:
        list(pool.map(lambda _: plan(system, big, 0.01), range(33)))
    assert plan(system, small) < SOON_S


def test_loads_that_nobody_waits_for(system: e.System) -> None:
    """Callers order digests of 32 GiB and give up: the threads stop with them, and plans went on all the time."""
    big, small = sparse(system, "hole"), system.made.uri("encoder")
    with ThreadPoolExecutor(6) as pool:
        others = [pool.submit(load, system, big, f"big{number}", 2.0) for number in range(6)]
        e.pause(0.5)
        assert plan(system, small) < SOON_S
        assert min(other.result() for other in others) > 1.0  # they were really under way
    assert load(system, small, "small", 60.0) < SOON_S


def test_a_small_load_goes_before_large_ones(system: e.System) -> None:
    """With every place for digests taken, and more large ones waiting, a small one is next."""
    big, small = sparse(system, "hole"), system.made.uri("encoder")
    with ThreadPoolExecutor(6) as pool:
        others = [pool.submit(load, system, big, f"big{number}", 4.0 if number < 2 else 12.0) for number in range(6)]
        e.pause(0.5)
        # Two places come free after 4 s; of those that wait then the small one is first.
        assert load(system, small, "small", 60.0) < 4.0 + SOON_S
        for other in others:
            other.result()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_pipe_among_the_files(system: e.System, name: str) -> None:
    """A pipe in the place of a file is refused at once, and keeps no reader waiting."""
    folder = Path(system.made.root / f"pipe-{name}")
    if not folder.exists():
        shutil.copytree(system.made.path("encoder"), folder)
        (folder / name).unlink()
        os.mkfifo(folder / name)
    began = time.monotonic()
    with pytest.raises(EchoplaneError) as caught:
        system.client.plan_model(planning_pb2.PlanModelRequest(source_uri=f"file:{folder.name}"), timeout_s=30.0)
    assert caught.value.reason == "SOURCE_CORRUPT"
    assert time.monotonic() - began < SOON_S
