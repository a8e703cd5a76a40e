"""Finds out what an engine at a prefix is by asking its files.

One short process without our environment, never an import.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from email.parser import HeaderParser
from pathlib import Path
from typing import Final

from echoplaned.engine_kinds.foreign import EngineMissingError, passed_environment

_LIMIT_S: Final = 10.0
_MAX_SAID: Final = 4096
_MAX_PARENTS: Final = 4


def run_for_version(command: Sequence[str], *, variables: Mapping[str, str]) -> str:
    """Run a command that prints a version and ends; return what it printed.

    What it printed on either stream counts.

    Raises:
        EngineMissingError: it cannot be run, fails, or does not end within 10 s.
    """
    environment = {**passed_environment(os.environ), **variables}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineMissingError(f"{command[0]} cannot be asked for its version: {error}") from error
    said = (done.stdout + done.stderr)[:_MAX_SAID].decode("utf-8", errors="replace")
    if done.returncode:
        raise EngineMissingError(f"{' '.join(command)} ended with exit code {done.returncode}: {said[:200]!r}")
    return said


def package_version(file: Path) -> str:
    """Return name and version of the Python package that a file belongs to.

    Empty where it was not installed with one, or the package names itself otherwise.
    """
    for parent in file.parents[:_MAX_PARENTS]:
        site = parent.parent
        if site.name == "site-packages":
            for metadata in sorted(site.glob(f"{parent.name}-*.dist-info/METADATA")):
                headers = HeaderParser().parsestr(metadata.read_text(encoding="utf-8", errors="replace"))
                return f"({headers.get('Name', parent.name)} {headers.get('Version', '')})"
    return ""
