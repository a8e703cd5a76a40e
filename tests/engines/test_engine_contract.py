"""The contract suite on two leaders: the embedded engine, and a small one over the contract's server helper."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from echoplaned.core.facts import Task
from echoplaned.core.spec import VersionSpec
from echoplaned.engine_kinds import DEFAULT_KIND, EngineKind, KindLimits, Option
from echoplaned.engine_kinds.kind import PYTHON
from echoplaned.testing.engine_case import Case, CaseNeed
from echoplaned.testing.engine_contract import DEATHS, FAILURES, GOOD_LIFE, run_suite
from echoplaned.testing.engine_stage import Subject, with_option
from tests.engines import tiny_leader
from tests.engines.engine_bench import facts, start
from tests.models import Checkpoints

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

LIMITS = KindLimits(start_quiet_s=8.0, start_silence_s=20.0)


def embedded(checkpoints: Checkpoints, folder: Path) -> Subject:
    """Return the embedded engine on a tiny checkpoint; its start never ends where 4 TiB are to be compared with an order."""
    endless = folder / "endless"
    shutil.copytree(checkpoints.encoder, endless)
    with (endless / "merges.txt").open("wb") as file:
        file.truncate(2**42)
    return Subject(
        "embedded",
        replace(DEFAULT_KIND, limits=LIMITS),
        start(checkpoints.encoder).spec,
        facts(),
        broken=start(checkpoints.poisoned).spec,
        endless=replace(start(endless).spec, digest="blake3:0"),
        lacks={
            CaseNeed.CHILDREN: "the engine is its own leader and has no children",
            CaseNeed.HISTOGRAMS: "it does not count latencies yet",
        },
    )


def tiny(checkpoints: Checkpoints, folder: Path) -> Subject:
    """Return the small leader."""
    del folder
    kind = EngineKind(
        name=tiny_leader.KIND,
        title="a small engine",
        command=(PYTHON, tiny_leader.__file__),
        environment=lambda _environment, _exact: {},
        version=lambda _environment: tiny_leader.VERSION,
        protocols=("OIP_GRPC", "OPENAI_HTTP"),
        options=(Option("endless", "Never ends its start."), Option("broken", "Cannot be loaded.")),
        formats=frozenset({"any"}),
        limits=LIMITS,
    )
    spec: VersionSpec = start(checkpoints.encoder).spec
    spec = replace(spec, shape=replace(spec.shape, engine=kind.name))
    return Subject(
        "tiny",
        kind,
        spec,
        facts(Task.EMBEDDING, tiny_leader.WIDTH),
        broken=with_option(spec, "broken"),
        endless=with_option(spec, "endless"),
        lacks={CaseNeed.MEMORY: "it does not measure", CaseNeed.TRACES: "it does not tell what requests said"},
    )


PARTS = {"good life": GOOD_LIFE, "deaths": DEATHS, "failures": FAILURES}


@pytest.mark.parametrize("cases", [pytest.param(cases, id=name) for name, cases in PARTS.items()])
@pytest.mark.parametrize("make", [embedded, tiny], ids=lambda make: make.__name__)
async def test_the_contract_is_kept(
    cases: tuple[Case, ...],
    make: Callable[[Checkpoints, Path], Subject],
    checkpoints: Checkpoints,
    short_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every case passes, or is left out by the name of what the engine lacks."""
    folder = short_dir / "state"
    folder.mkdir()
    subject = make(checkpoints, short_dir)
    outcomes = []
    async for outcome in run_suite(subject, folder, cases):
        outcomes.append(outcome)
        with capsys.disabled():
            print(f"\ncontract, {subject.name}: {outcome}", end="", flush=True)  # noqa: T201 - the cases are shown
    assert [str(one) for one in outcomes if one.failure] == []
    lacking = {case.needs for case in cases if case.needs in subject.lacks}
    assert {one.skipped.partition(":")[0] for one in outcomes if one.skipped} == lacking
