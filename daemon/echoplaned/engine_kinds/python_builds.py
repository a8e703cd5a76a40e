"""Engines that are Python packages: what is installed at a prefix, told by metadata in a tenth of a second; nothing of it is imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from echoplaned.engine_kinds.builds import run_for_version
from echoplaned.engine_kinds.foreign import Build, EngineMissingError, Listen

Release = tuple[int, ...]
"""Numbers of a version: ``(0, 32, 0)``."""

_LIBRARY: Final = "torch"
"""Which one it is decides what the engine takes, as the engine's own version does."""

_ASK: Final = """
import sys
from importlib.metadata import PackageNotFoundError, version
for name in sys.argv[1:]:
    try:
        print(name, version(name))
    except PackageNotFoundError:
        pass
"""
_NUMBERS: Final = re.compile(r"\d+(?:\.\d+)*")


@dataclass(frozen=True, slots=True)
class PythonEngine:
    """A Python package that is an engine.

    Attributes:
        name: for messages.
        distributions: under which it is distributed, the usual one first.
        module: what the interpreter runs, with what stands before the flags.
        oldest: the oldest release whose flags and metrics are known here.
        listens: where its builds listen.
    """

    name: str
    distributions: tuple[str, ...]
    module: tuple[str, ...]
    oldest: Release
    listens: Listen


def find_python_build(engine: PythonEngine, prefix: str) -> Build:
    """Find the engine in an environment: its directory, or the path of its interpreter.

    Raises:
        EngineMissingError: there is no interpreter, no such package, or one that is too old.
    """
    root = Path(prefix)
    # Not resolved: an interpreter finds its environment by the path that it is called by.
    python = root if root.is_file() else root / "bin" / "python"
    if not python.is_file():
        raise EngineMissingError(f"there is no interpreter at {python}: name an environment, or the interpreter in it")
    python = python.absolute()
    found = _installed(python, (*engine.distributions, _LIBRARY))
    distribution = next((name for name in engine.distributions if name in found), "")
    if not distribution:
        looked = " or ".join(engine.distributions)
        raise EngineMissingError(f"{engine.name} is not installed at {prefix!r:.200}: there is no package {looked}")
    version = found[distribution]
    if read_release(version) < engine.oldest:
        oldest = ".".join(map(str, engine.oldest))
        raise EngineMissingError(f"{engine.name} {version} is too old: {oldest} or newer is needed")
    named = f"{distribution} {version}, {_LIBRARY} {found.get(_LIBRARY, 'missing')}"
    return Build(named, (str(python), *engine.module), metrics_version=version, listens=engine.listens)


def read_release(version: str) -> Release:
    """Return a version's numbers; what follows them (``rc1``, ``+cpu``) counts for nothing. Empty: it has none."""
    numbers = _NUMBERS.match(version)
    return tuple(int(part) for part in numbers[0].split(".")) if numbers else ()


def _installed(python: Path, names: Sequence[str]) -> dict[str, str]:
    # -I: neither the working directory nor PYTHONPATH is looked at, so that it is the environment's own package that answers.
    said = run_for_version((str(python), "-I", "-c", _ASK, *names), variables={})
    words = (line.split(" ", 1) for line in said.splitlines())
    return {pair[0]: pair[1].strip() for pair in words if len(pair) == 2 and pair[0] in names}
