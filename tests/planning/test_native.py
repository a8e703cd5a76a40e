"""The native module itself: its stub, its exceptions, and that it lets other threads run."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from echoplaned import _allocator
from echoplaned.core.errors import EchoplaneError
from echoplaned.planning import _translate

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_the_stub_describes_the_module() -> None:
    """The stub test finds no difference between the stub and what was compiled."""
    command = [sys.executable, "-m", "mypy.stubtest", "echoplaned._allocator"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_exception_has_a_reason() -> None:
    """No native exception can reach a caller without one of the API's reasons."""
    classes = {
        value
        for _, value in inspect.getmembers(_allocator, inspect.isclass)
        if issubclass(value, _allocator.AllocatorError) and value is not _allocator.AllocatorError
    }
    assert classes == set(_translate._TABLE)
    for native in classes:
        with pytest.raises(EchoplaneError, match="what happened") as caught, _translate.translated():
            raise native("what happened")
        assert caught.value.failure.reason == caught.value.reason


def test_the_interpreter_is_free_while_files_are_hashed(minilm: Path) -> None:
    """Another thread runs Python while a digest is computed."""
    progress = []
    done = threading.Event()

    def count() -> None:
        while not done.is_set():
            progress.append(1)
            done.wait(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    before = len(progress)
    try:
        for _ in range(3):
            _allocator.digest(minilm, ["model.safetensors"])
    finally:
        after = len(progress)
        done.set()
        thread.join()
    assert after - before >= 10


@pytest.mark.parametrize("number", [-1, 2**64])
def test_numbers_outside_64_bits_are_refused(number: int) -> None:
    """They are Python's own error, raised while converting; nothing wraps around."""
    with pytest.raises(OverflowError):
        _allocator.place([("a", number, 0, 0)], 1, 1)


def test_an_unknown_dtype_has_its_exception(minilm: Path) -> None:
    """The native module knows its own names only."""
    checkpoint = _allocator.inspect(minilm)
    with pytest.raises(_allocator.NameUnknownError, match="FP12"):
        checkpoint.size(dtype_name="FP12", context_length=1, max_concurrency=1, engine_name="torch")
