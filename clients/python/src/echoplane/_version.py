"""The distribution's version."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def _read() -> str:
    try:
        return version("echoplane")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0+source"


__version__ = _read()
