"""The contract suite on foreign engines: the real llama-server by its declaration, and again as any command."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from echoplaned.engine_kinds import KindLimits
from echoplaned.testing.engine_case import Case, CaseNeed
from echoplaned.testing.engine_contract import DEATHS, FAILURES, GOOD_LIFE, run_suite
from echoplaned.testing.engine_stage import Subject
from tests.engines.llama_parts import command_kind, llama_facts, llama_kind, llama_spec, model_file, with_options

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

LIMITS = KindLimits(start_quiet_s=8.0, start_silence_s=20.0)
UNHEARD: dict[str, str] = {
    CaseNeed.TRACES: "the engine does not tell what requests said",
    CaseNeed.COUNTERS: "the engine counts no requests, and those that go to its own port pass nobody of ours",
    CaseNeed.HISTOGRAMS: "the engine counts no latencies",
}


def half_a_model(folder: Path) -> Path:
    """Return a GGUF file that was cut in the middle."""
    path = folder / "half.gguf"
    with model_file().open("rb") as whole:
        path.write_bytes(whole.read(40_000_000))
    return path


def llama_cpp(folder: Path) -> Subject:
    """Return llama-server; its start never ends where the file is a pipe that nobody writes to."""
    kind = replace(llama_kind(), limits=LIMITS)
    pipe = folder / "pipe.gguf"
    os.mkfifo(pipe)
    return Subject(
        "llama_cpp",
        kind,
        llama_spec(kind),
        llama_facts(),
        broken=llama_spec(kind, half_a_model(folder)),
        endless=llama_spec(kind, pipe),
        lacks=UNHEARD,
        broken_reason="model",
    )


def command(folder: Path) -> Subject:
    """Return llama-server as any command; its start never ends where its health route does not exist."""
    kind = replace(command_kind(), limits=LIMITS)
    spec = llama_spec(kind)
    return Subject(
        "command",
        kind,
        spec,
        llama_facts(),
        broken=llama_spec(kind, folder / "missing.gguf"),
        endless=with_options(spec, health_route="/nowhere"),
        lacks={**UNHEARD, CaseNeed.SCORING: "nothing is known of a command but OpenAI's API, which scores no prompt"},
        broken_reason="does not exist",
    )


PARTS = {"good life": GOOD_LIFE, "deaths": DEATHS, "failures": FAILURES}


@pytest.mark.parametrize("cases", [pytest.param(cases, id=name) for name, cases in PARTS.items()])
@pytest.mark.parametrize("make", [llama_cpp, command], ids=lambda make: make.__name__)
async def test_the_contract_is_kept(
    cases: tuple[Case, ...],
    make: Callable[[Path], Subject],
    short_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every case passes, or is left out by the name of what the engine lacks."""
    folder = short_dir / "state"
    folder.mkdir()
    subject = make(short_dir)
    outcomes = []
    async for outcome in run_suite(subject, folder, cases):
        outcomes.append(outcome)
        with capsys.disabled():
            print(f"\ncontract, {subject.name}: {outcome}", end="", flush=True)  # noqa: T201 - the cases are shown
    assert [str(one) for one in outcomes if one.failure] == []
    lacking = {case.needs for case in cases if case.needs in subject.lacks}
    assert {one.skipped.partition(":")[0] for one in outcomes if one.skipped} == lacking
