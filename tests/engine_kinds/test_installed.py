"""Kinds whose modules are not installed here: they are known, not configured, and say what to install."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from echoplaned.engine_kinds import DEFAULT_KIND, KINDS, configure_kinds, describe_absence
from echoplaned.engine_kinds.installed import find_missing, is_installed

ROOT = Path(__file__).parents[2]


def test_a_kind_without_its_modules_is_not_configured() -> None:
    """It says which are missing and the command that installs them; the others can be started."""
    kind = find_missing(DEFAULT_KIND, lambda module: module not in {"torch", "torchao"})
    assert kind.missing == ("torch", "torchao")
    assert not kind.is_configured
    assert (
        kind.absence
        == "torch, torchao not installed: run `pip install 'echoplaned[torch]'`, and start the daemon again"
    )
    whole = find_missing(DEFAULT_KIND, lambda _module: True)
    assert (whole.is_configured, whole.absence) == (True, "")


def test_what_is_said_of_an_engine_that_is_not_there() -> None:
    """What to install, which flag to give, or which names there are."""
    torch = find_missing(DEFAULT_KIND, lambda _module: False)
    kinds = (torch, *(kind for kind in KINDS if kind.name != torch.name))
    assert "pip install 'echoplaned[torch]'" in describe_absence("", kinds)
    assert describe_absence("torch", kinds).endswith("or name another one, there are: none")
    assert describe_absence("vllm-next", kinds).endswith("start the daemon with --engine vllm-next=PREFIX to have it")
    assert describe_absence("abacus", kinds) == "there is no engine 'abacus' here, there are: none"


def test_foreign_kinds_say_the_flag_that_they_need() -> None:
    """Without a setting nobody knows where they are."""
    absences = {kind.name: kind.absence for kind in configure_kinds(()) if kind.foreign is not None}
    assert absences["llama_cpp"] == "no setting says where it is: start the daemon with --engine llama_cpp=PREFIX"
    assert all(absences.values())


def test_a_folder_of_a_modules_name_is_not_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace in the working directory installs nothing; a module does, and is not imported by the question."""
    (tmp_path / "echoplane_no_such_engine").mkdir()
    (tmp_path / "echoplane_such_engine.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not is_installed("echoplane_no_such_engine")
    assert not is_installed("echoplane_gone_engine")
    assert is_installed("echoplane_such_engine")


def test_the_extra_installs_every_module_that_the_kind_needs() -> None:
    """Each is the name of a distribution of the extra, and there is none beside."""
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("\ntorch = [")[2].partition("]")[0]
    assert set(DEFAULT_KIND.modules) == set(re.findall(r'"([a-z0-9]+)>=', extras))
