"""The contract suite on a real vLLM, on CPUs, in an environment of its own (``make test-engines``)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from echoplaned.core.facts import Dtype, Task
from echoplaned.core.spec import ServingShape, VersionSpec
from echoplaned.engine_kinds import KINDS
from echoplaned.engine_kinds.configured import configure
from echoplaned.testing.checkpoints import DecoderShape, make_decoder
from echoplaned.testing.engine_case import Case, CaseNeed
from echoplaned.testing.engine_contract import DEATHS, GOOD_LIFE, run_suite
from echoplaned.testing.engine_stage import Subject
from tests.engines.engine_bench import facts

pytestmark = [pytest.mark.engines, pytest.mark.timeout(3000)]

MIB = 1024 * 1024
SHAPE = DecoderShape(layers=2, width=128, heads=4, kv_heads=4, feed_forward=256, positions=512)
"""Heads of 32: vLLM's kernels for CPUs have no smaller ones."""


def vllm(folder: Path) -> Subject:
    """Return vLLM on a small Llama with random weights."""
    where = os.environ.get("ECHOPLANE_TEST_ENGINES")
    if where is None:
        pytest.skip("needs the engines that `make test-engines` installs")
    kind = configure(f"vllm={where}/vllm", KINDS)
    model = make_decoder(folder / "model", shape=SHAPE)
    spec = VersionSpec(model.as_uri(), str(model), "", ServingShape(Dtype.FP32, 256, 2, kind.name))
    return Subject(
        "vllm",
        kind,
        spec,
        facts(Task.GENERATION),
        broken=spec,
        endless=spec,
        lacks={CaseNeed.TRACES: "the engine does not tell what requests said"},
        start_wait_s=1500.0,
        kv_cache_bytes=64 * MIB,
    )


PARTS = {"good life": GOOD_LIFE, "deaths": DEATHS}


@pytest.mark.parametrize("cases", [pytest.param(cases, id=name) for name, cases in PARTS.items()])
async def test_the_contract_is_kept(
    cases: tuple[Case, ...], short_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every case passes, or is left out by the name of what the engine lacks. A start takes minutes, so FAILURES are not played."""
    folder = short_dir / "state"
    folder.mkdir()
    subject = vllm(short_dir)
    outcomes = []
    async for outcome in run_suite(subject, folder, cases):
        outcomes.append(outcome)
        with capsys.disabled():
            print(f"\ncontract, {subject.name}: {outcome}", end="", flush=True)  # noqa: T201 - the cases are shown
    assert [str(one) for one in outcomes if one.failure] == []
