"""Declarations of engine kinds: options with bounds, and one place where a kind is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import echoplaned
from echoplaned.core.endpoints import EndpointProtocol
from echoplaned.engine_kinds import DEFAULT_KIND, KINDS, EngineKind, Option, OptionType, find_kind
from tests.engine_kinds.launches import launch

DAEMON = Path(echoplaned.__file__).parent
ROOMS_THAT_NAME_A_KIND = ("engine_kinds/", "worker/", "testing/")
"""Declarations, the engine itself, and what makes and measures real models for tests and benchmarks."""


def test_no_room_but_the_kinds_own_names_a_kind() -> None:
    """The daemon knows no engine: whoever greps for one finds its declaration and its process."""
    named = [
        str(path.relative_to(DAEMON))
        for path in sorted(DAEMON.rglob("*.py"))
        if not str(path.relative_to(DAEMON)).startswith(ROOMS_THAT_NAME_A_KIND)
        and re.search("torch", path.read_text(encoding="utf-8"), re.IGNORECASE)
    ]
    assert named == []


def test_every_kind_is_complete() -> None:
    """Names are unique, defaults (not every option has one) keep their own bounds, and endpoints speak what the contract knows."""
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        assert kind.protocols
        assert all(EndpointProtocol(name) for name in kind.protocols)
        assert kind.formats
        assert kind.version({}).strip()
        assert not kind.check_options({option.name: option.default for option in kind.options if option.default})
        assert find_kind(kind.name) is kind
    assert find_kind("") is DEFAULT_KIND
    assert find_kind("abacus") is None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_gpus_are_counted_as_the_planner_counts_them(kind: EngineKind) -> None:
    """CUDA counts the fastest first unless it is told: the second of two cards by NVML would be another one for the engine."""
    if kind.foreign is None:
        found = kind.environment({}, False)
    else:
        found = dict(
            kind.foreign.variables(
                launch(kind, "0.32.0", "cuda:1", **({"memory_bytes": "1"} if kind.memory_option else {}))
            )
        )
    assert found["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


@pytest.mark.parametrize("text", ["0", "257", "-1", "1.5", "", "one", "1" * 40, "\u0661"])
def test_a_number_out_of_bounds_is_refused_by_name(text: str) -> None:
    """Admission and leader share the bounds."""
    (violation,) = DEFAULT_KIND.check_options({"torch_threads": text})
    assert violation.field == 'engine_options["torch_threads"]'
    assert violation.description == "must be a whole number from 1 to 256"
    with pytest.raises(ValueError, match="whole number from 1 to 256"):
        DEFAULT_KIND.read_options({"torch_threads": text})


def test_options_have_defaults_and_no_others_are_known() -> None:
    """What a caller leaves out has its default; what no kind knows is named."""
    assert DEFAULT_KIND.read_options({}) == {"torch_threads": "1"}
    assert DEFAULT_KIND.read_options({"torch_threads": "8"}) == {"torch_threads": "8"}
    (violation,) = DEFAULT_KIND.check_options({"colour": "red"})
    assert violation.description == "engine torch has no such option; its options: torch_threads"


def test_a_weights_format_is_checked_against_the_kind() -> None:
    """What an engine cannot unpack is refused before anything is planned."""
    assert DEFAULT_KIND.check_weights_format("") == ()
    (violation,) = DEFAULT_KIND.check_weights_format("INT4_G128")
    assert violation.description == "engine torch does not take 'INT4_G128'; it takes none: leave it out"


def test_a_choice_is_one_of_its_texts() -> None:
    """Options that are no numbers may have a list of texts."""
    option = Option("cache", "Where it caches.", OptionType.TEXT, default="ram", choices=("ram", "disk"))
    assert not option.problem("disk")
    assert option.problem("tape") == "must be one of ram, disk"
