#!/usr/bin/env python3
"""Generate the Python code of the API into `clients/python/src`, with a pinned generator in an environment of its own.

Usage: python proto/generate.py [--check]

The generator is the oldest line whose output runs with protobuf 6 and 7: generated code demands at least its own
generator's version, and accepts the next major one. `--check` writes nothing: it generates into a temporary directory,
names every file that differs, and exits 1 if there is one. Only the standard library is needed to run this file.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PROTO = Path(__file__).resolve().parent
ROOT = PROTO.parent
TARGET = ROOT / "clients" / "python" / "src"
ENVIRONMENT = ROOT / ".venv-proto"
# mypy-protobuf writes the types of the service stubs; everything else is protoc's own output.
REQUIREMENTS = ("grpcio-tools==1.72.2", "mypy-protobuf==3.6.0", "setuptools<81")

SOURCES = (
    "echoplane/v1/*.proto",
    "echoplane/gateway/v1/*.proto",
    "echoplane/worker/v1/*.proto",
    "third_party/echoplane/inference/*.proto",
)
MESSAGES = ("--python_out=.", "--pyi_out=.")
VALIDATE = "buf/validate/validate.proto"
OPERATIONS = "google/longrunning/operations.proto"

# A distribution must not install into others' top-level package `buf`; `echoplane._third_party` finds or brings it.
REWRITES = {
    "from buf.validate import validate_pb2 as": "from echoplane._third_party import validate_pb2 as",
    # The distribution that brings it has no types.
    "\nimport google.longrunning.operations_pb2\n": "\nimport google.longrunning.operations_pb2  # type: ignore[import-untyped]\n",
}
PACKAGES = {
    "echoplane/v1": "Messages and services of the API, version 1.",
    "echoplane/gateway": "What the daemon's HTTP gateway asks of it.",
    "echoplane/gateway/v1": "What the daemon's HTTP gateway asks of it, version 1.",
    "echoplane/worker": "What the daemon asks of an embedded engine process.",
    "echoplane/worker/v1": "What the daemon asks of an embedded engine process, version 1.",
    "echoplane/inference": "The Open Inference Protocol's gRPC service.",
    "echoplane/_third_party/buf": "Field rules by protovalidate.",
    "echoplane/_third_party/buf/validate": "Field rules by protovalidate.",
    "echoplane/_third_party/google": "Stubs of Google's common services.",
    "echoplane/_third_party/google/longrunning": "Stubs of google.longrunning.Operations.",
}


def environment_python() -> Path:
    """Return the generator environment's interpreter, made on the first call and again when the pins change.

    Raises:
        subprocess.CalledProcessError: the requirements could not be installed.
    """
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "requirements.txt"
    wanted = "\n".join(REQUIREMENTS) + "\n"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    sys.stderr.write(f"making {ENVIRONMENT.name} with {', '.join(REQUIREMENTS)}\n")
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS], check=True
    )
    stamp.write_text(wanted, encoding="utf-8")
    return python


def relative(patterns: tuple[str, ...]) -> list[str]:
    """Return the protos that match, by their import path."""
    found = sorted(path for pattern in patterns for path in PROTO.glob(pattern))
    return [str(path.relative_to(PROTO)).removeprefix("third_party/") for path in found]


def source(name: str) -> str:
    """Return a proto's text by its import path."""
    path = PROTO / name
    return (path if path.is_file() else PROTO / "third_party" / name).read_text(encoding="utf-8")


def protoc(
    python: Path, out: Path, files: list[str], options: tuple[str, ...] = ("--python_out=.", "--pyi_out=.")
) -> None:
    """Run protoc in out on files.

    Raises:
        subprocess.CalledProcessError: protoc refused a file; it has said why.
    """
    includes = [f"-I{PROTO}", f"-I{PROTO / 'third_party'}"]
    # The working directory must not be proto/, where `google/` and `buf/` could be taken for packages.
    subprocess.run([python, "-m", "grpc_tools.protoc", *includes, *options, *files], check=True, cwd=out)


def grpc_stubs(python: Path, out: Path, files: list[str]) -> None:
    """Write the service stubs of files, and their types."""
    plugin = f"--plugin={python.parent / 'protoc-gen-mypy_grpc'}"
    protoc(python, out, files, ("--grpc_python_out=.", "--mypy_grpc_out=quiet:.", plugin))


def rewrite_imports(out: Path) -> None:
    """Point imports of the vendored `buf.validate` to where this distribution keeps it."""
    for path in sorted(out.rglob("*.py*")):
        text = path.read_text(encoding="utf-8")
        changed = text
        for old, new in REWRITES.items():
            changed = changed.replace(old, new)
        if changed != text:
            path.write_text(changed, encoding="utf-8")


def generate(out: Path) -> list[Path]:
    """Write all generated files beneath out and return their paths relative to it."""
    python = environment_python()
    third_party = out / "echoplane" / "_third_party"
    third_party.mkdir(parents=True)
    protoc(python, out, relative(SOURCES))
    # Without types: nobody uses the rules from Python, and protoc's stub of this file is not sound.
    protoc(python, third_party, [VALIDATE], ("--python_out=.",))
    # googleapis-common-protos and xds-protos both bring `google.longrunning`, the second without the service's stubs and with
    # other bytes than the first one's stubs refer to: in one environment the messages of either work, the stubs of neither.
    grpc_stubs(python, third_party, [OPERATIONS])
    grpc_stubs(python, out, [name for name in relative(SOURCES) if "\nservice " in source(name)])
    rewrite_imports(out)
    for package, docstring in PACKAGES.items():
        (out / package / "__init__.py").write_text(f'"""{docstring}"""\n', encoding="utf-8")
    return sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())


def checked_in() -> set[Path]:
    """Return the generated files that the distribution holds now."""
    generated = {path.relative_to(TARGET) for path in TARGET.rglob("*_pb2*.py*") if "__pycache__" not in path.parts}
    return generated | {
        Path(package) / "__init__.py" for package in PACKAGES if (TARGET / package / "__init__.py").is_file()
    }


def content(path: Path) -> bytes | None:
    """Return a file's content, or None where there is no such file."""
    return path.read_bytes() if path.is_file() else None


def main() -> int:
    """Generate, or compare; return the exit status."""
    parser = argparse.ArgumentParser(description="Generate the API's Python code.")
    parser.add_argument("--check", action="store_true", help="compare with what is checked in, write nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        files = generate(out)
        stale = checked_in() - set(files)
        differs = [
            f for f in files if not (TARGET / f).is_file() or (TARGET / f).read_bytes() != (out / f).read_bytes()
        ]
        for path in sorted({*differs, *stale}):
            sys.stdout.write(f"{path}\n")
        if arguments.check:
            return 1 if differs or stale else 0
        for path in differs:
            (TARGET / path).parent.mkdir(parents=True, exist_ok=True)
            (TARGET / path).write_bytes((out / path).read_bytes())
        for path in stale:
            (TARGET / path).unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
