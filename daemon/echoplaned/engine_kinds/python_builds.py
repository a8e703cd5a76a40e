"""Finds engines that are Python packages, installed at a prefix.

Metadata tells in a tenth of a second what is there; nothing of it is imported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from echoplaned.engine_kinds.builds import run_for_version
from echoplaned.engine_kinds.foreign import Build, EngineMissingError, Listen

Release = tuple[int, ...]
"""Numbers of a version: ``(0, 32, 0)``."""

_LIBRARY: Final = "torch"
"""Which one it is decides what the engine takes, as the engine's own version does."""

_COMPILED: Final = "bytecode-of"
"""Comes before the name of a module whose file has its bytecode beside it; no package is called so."""

_ASK: Final = """
import os, sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import cache_from_source, find_spec
compiled, modules, names = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
for name in names:
    try:
        print(name, version(name))
    except PackageNotFoundError:
        pass
specs = [find_spec(name) for name in modules]
if all(spec and spec.origin and os.path.exists(cache_from_source(spec.origin)) for spec in specs):
    print(compiled, *modules)
"""
_NUMBERS: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})*")  # Python reads no number of thousands of digits


@dataclass(frozen=True, slots=True)
class PythonEngine:
    """A Python package that is an engine.

    Attributes:
        name: name in messages.
        distributions: names under which it is distributed, the usual one first.
        module: module that the interpreter runs, with what stands before the flags.
        oldest: oldest release whose flags and metrics are known here.
        listens: kind of address that its builds listen on.
    """

    name: str
    distributions: tuple[str, ...]
    module: tuple[str, ...]
    oldest: Release
    listens: Listen


def find_python_build(engine: PythonEngine, prefix: str) -> Build:
    """Find an engine that is a Python package in an environment.

    ``prefix``: the environment's directory, or the path of its interpreter.

    Raises:
        EngineMissingError: there is no interpreter, no such package, or one that is too old.
    """
    root = Path(prefix)
    # Not resolved: an interpreter finds its environment by the path that it is called by.
    python = root if root.is_file() else root / "bin" / "python"
    if not python.is_file():
        raise EngineMissingError(f"there is no interpreter at {python}: name an environment, or the interpreter in it")
    python = python.absolute()
    found = _installed(python, engine)
    distribution = next((name for name in engine.distributions if name in found), "")
    if not distribution:
        looked = " or ".join(engine.distributions)
        raise EngineMissingError(f"{engine.name} is not installed at {prefix!r:.200}: there is no package {looked}")
    version = found[distribution]
    if read_release(version) < engine.oldest:
        oldest = ".".join(map(str, engine.oldest))
        raise EngineMissingError(f"{engine.name} {version} is too old: {oldest} or newer is needed")
    named = f"{distribution} {version}, {_LIBRARY} {found.get(_LIBRARY, 'missing')}"
    return Build(
        named,
        (str(python), *engine.module),
        metrics_version=version,
        listens=engine.listens,
        has_bytecode=_COMPILED in found,
    )


def read_release(version: str) -> Release:
    """Return a version's numbers; empty: it has none.

    What follows them (``rc1``, ``+cpu``) counts for nothing.
    """
    numbers = _NUMBERS.match(version)
    return tuple(int(part) for part in numbers[0].split(".")) if numbers else ()


def _installed(python: Path, engine: PythonEngine) -> dict[str, str]:
    """Ask an environment what is installed in it, and whether it was compiled.

    Nothing of it is imported.
    """
    names = (*engine.distributions, _LIBRARY)
    modules = f"{engine.module[-1].partition('.')[0]},{_LIBRARY}"
    # -I: neither the working directory nor PYTHONPATH is looked at, so that it is the environment's own package that answers.
    said = run_for_version((str(python), "-I", "-c", _ASK, _COMPILED, modules, *names), variables={})
    words = (line.split(" ", 1) for line in said.splitlines())
    return {pair[0]: pair[1].strip() for pair in words if len(pair) == 2 and pair[0] in {*names, _COMPILED}}
