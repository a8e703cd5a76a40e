"""The native module itself: its stub, its exceptions, and that it lets other threads run."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from echoplaned import _allocator
from echoplaned.core.errors import DaemonError
from echoplaned.planning import _translate

ROOT = Path(__file__).parents[2]


@pytest.mark.long
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
    # A mistake of the module is one of ours, not of the caller: it is told as any other exception that nobody foresaw.
    assert classes - {_allocator.NativePanicError} == set(_translate._TABLE)
    for native in _translate._TABLE:
        with pytest.raises(DaemonError, match="what happened") as caught, _translate.translate_errors():
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


def test_a_panic_is_an_exception(capfd: pytest.CaptureFixture[str]) -> None:
    """What handles exceptions handles a panic: it is answered as an internal error, and ends no task and no thread unheard."""
    with pytest.raises(Exception, match="a mistake in the native module: no such thing") as caught:
        _allocator.panic_with("no such thing")
    assert isinstance(caught.value, _allocator.NativePanicError)
    with pytest.raises(_allocator.NativePanicError), _translate.translate_errors():
        _allocator.panic_with("translated")
    assert "no such thing" in capfd.readouterr().err


def test_a_digest_stops_when_it_is_told_to(tmp_path: Path) -> None:
    """A file of 1 TiB by its length is given up within a piece of it."""
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(2**40)
    found = (tmp_path / "hole").stat()
    flag = _allocator.StopFlag()
    timer = threading.Timer(0.2, flag.stop)
    timer.start()
    with pytest.raises(_allocator.DigestStoppedError):
        _allocator.digest_known(tmp_path, [("hole", "hole", 2**40, found.st_ino, found.st_ctime_ns)], flag)
    timer.join()


def test_what_leads_out_of_a_root_is_not_opened(tmp_path: Path) -> None:
    """The kernel keeps a path beneath its root, whatever its parts are at that moment; a pipe is refused and not waited for."""
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "root" / "link").symlink_to("../secret")
    (tmp_path / "root" / "folder").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "root" / "pipe")
    (tmp_path / "root" / "file").write_text("text")
    for path in ("link", "folder/secret", "../secret", "pipe"):
        with pytest.raises(OSError, match=r"."):
            _allocator.open_beneath(tmp_path / "root", path)
    with os.fdopen(_allocator.open_beneath(tmp_path / "root", "file")) as file:
        assert file.read() == "text"
