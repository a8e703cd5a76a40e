"""The real daemon for the end-to-end tests: one for all that leave it as it was, one's own for those that kill it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from echoplane import Client
from echoplaned.testing.daemon import DaemonProcess
from echoplaned.testing.loadgen import LoadProcesses
from tests.e2e import e2e_system as e


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and give it the time that a load on a busy machine takes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(420))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> e.Checkpoints:
    """Checkpoints beneath the allowed root of every daemon."""
    return e.Checkpoints(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One bytecode cache for all engines where the environment forbids bytecode: else each daemon's first spare compiles torch anew."""
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture(scope="session")
def start_system(
    tmp_path_factory: pytest.TempPathFactory, made: e.Checkpoints, bytecode: Path
) -> Callable[[ExitStack, tuple[str, ...]], e.System]:
    """Return a function that starts a daemon and gives its end to a stack."""

    def start(stack: ExitStack, extra: tuple[str, ...]) -> e.System:
        state_dir = tmp_path_factory.mktemp("daemon") / "state"
        state_dir.mkdir(mode=0o700)
        (state_dir / "bytecode").symlink_to(bytecode)
        (state_dir / "daemon.lock").touch(mode=0o600)  # it is this daemon's own, though the cache is in it already
        daemon = DaemonProcess(state_dir, (made.root,), extra)
        stack.callback(daemon.clean)
        daemon.start()
        client = stack.enter_context(Client(daemon.address, e.ONCE))
        return e.System(daemon, client, made)

    return start


@pytest.fixture(scope="session")
def system(start_system: Any) -> Iterator[e.System]:
    """The daemon that most tests share. A test deletes what it loads."""
    with ExitStack() as stack:
        yield start_system(stack, ())


@pytest.fixture
def own_system(start_system: Any) -> Iterator[e.MakeSystem]:
    """Start a daemon of the test's own, with more arguments."""
    with ExitStack() as stack:
        yield lambda *extra: start_system(stack, extra)


@pytest.fixture
def start_load(tmp_path: Path) -> Iterator[e.MakeLoad]:
    """Start load generators on a model; they end with the test."""
    with ExitStack() as stack:

        def start(
            system: e.System,
            model: str,
            *,
            processes: int,
            rate: float,
            long_share: float = 0.1,
            max_tokens: int = 0,
        ) -> LoadProcesses:
            folder = tmp_path / f"load-{model}"
            folder.mkdir()
            return e.begin_load(stack, folder, system, model, e.Traffic(processes, rate, long_share, max_tokens))

        yield start
