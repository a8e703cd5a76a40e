"""A server on a socket that its user alone can open, now or once the disk takes it."""

from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path

import grpc.aio
import pytest
from structlog.testing import capture_logs

from echoplane.options import socket_target
from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.failure import InvalidField
from echoplaned.security.private_listener import PrivateListener


async def answers(path: Path) -> None:
    """Wait until a call would reach the server."""
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        await asyncio.wait_for(channel.channel_ready(), 10.0)


async def test_it_is_private_and_replaces_what_was_left(tmp_path: Path) -> None:
    """What a killed daemon left is no obstacle, and nobody else opens the new one."""
    path = Path(tmp_path, "s")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    listener = PrivateListener(grpc.aio.server(), path)
    await listener.open()
    await listener.wait()
    assert path.lstat().st_mode == stat.S_IFSOCK | 0o600  # noqa: ASYNC240 - a test may block
    await answers(path)
    await listener.server.stop(None)


@pytest.mark.parametrize("name", ["a%41b", "a#b", "a?b", "a b", "ü", "a:b", "\udcff"])
async def test_every_name_of_a_folder_is_that_folder(name: str, tmp_path: Path) -> None:
    """To gRPC an address is a URI: ``%41`` was an A, in a folder that is not there or is somebody else's."""
    folder = Path(tmp_path, name)
    folder.mkdir()  # noqa: ASYNC240 - a test may block
    (tmp_path / "aAb").mkdir(exist_ok=True)
    listener = PrivateListener(grpc.aio.server(), folder / "s")
    await listener.open()
    assert [each.name for each in folder.iterdir()] == ["s"]  # noqa: ASYNC240 - a test may block
    async with grpc.aio.insecure_channel(socket_target(folder / "s")) as channel:
        await asyncio.wait_for(channel.channel_ready(), 10.0)
    await listener.server.stop(None)


async def test_it_waits_for_the_disk(tmp_path: Path) -> None:
    """A folder that is not there, then a file that cannot be written: the server is started when both are mended."""
    path = Path(tmp_path, "folder", "s")
    problems = [OSError("read-only"), None]

    def prepare() -> None:
        problem = problems.pop(0) if problems else None
        if problem is not None:
            raise problem

    listener = PrivateListener(grpc.aio.server(), path, prepare, retry_s=0.01)
    with capture_logs() as said:
        await listener.open()
        waiting = asyncio.create_task(listener.wait())
        await asyncio.sleep(0.1)
    assert not waiting.done()
    assert len(said) == 2, "each reason once, though it was tried ten times"
    path.parent.mkdir()
    await asyncio.wait_for(waiting, 10.0)
    await answers(path)
    await listener.server.stop(None)


async def test_a_server_that_never_started_can_be_stopped(tmp_path: Path) -> None:
    """A daemon ends in time on a disk that never took the socket."""
    listener = PrivateListener(grpc.aio.server(), Path(tmp_path, "missing", "s"))
    await listener.open()
    await asyncio.wait_for(listener.server.stop(0.5), 5.0)


async def test_a_setting_that_is_refused_later_ends_nothing(tmp_path: Path) -> None:
    """At its start a daemon says what is wrong and ends; one that serves already waits until it is mended."""
    wrong = FieldInvalidError(InvalidField("gateway_tls_dir", "has another certificate"))
    problems: list[Exception | None] = [OSError("full"), wrong, wrong, None]

    def prepare() -> None:
        problem = problems.pop(0)
        if problem is not None:
            raise problem

    listener = PrivateListener(grpc.aio.server(), Path(tmp_path, "s"), prepare, retry_s=0.01)
    with capture_logs() as said:
        await listener.open()
        await asyncio.wait_for(listener.wait(), 10.0)
    assert [each["reason"] for each in said] == ["full", str(wrong)]
    assert not problems
    await answers(Path(tmp_path, "s"))
    await listener.server.stop(None)
    problems.append(wrong)
    with pytest.raises(FieldInvalidError):
        await PrivateListener(grpc.aio.server(), Path(tmp_path, "t"), prepare).open()
