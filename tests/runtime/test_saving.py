"""A value that is saved where it changed."""

from __future__ import annotations

import asyncio

from echoplaned.runtime.saving import Saver


async def test_only_what_changed_is_saved() -> None:
    """A save that failed is tried again, and its fault goes nowhere else."""
    saved: list[int] = []
    value = [1]
    saver = Saver(lambda: value[0], "test.not_saved")

    def full(_value: int) -> None:
        raise OSError(28, "no space left on device")

    await saver.save(saved.append)
    saver.changed()
    await saver.save(full)
    value[0] = 2
    await saver.save(saved.append)
    await saver.save(saved.append)
    assert saved == [2]


async def test_it_is_saved_now_and_then() -> None:
    """Until it is cancelled, what changes is saved when its turn comes, or soon where it cannot wait."""
    saved: list[str] = []
    saver = Saver(lambda: "x", "test.not_saved")
    for every_s, soon in ((0.01, False), (3600.0, True)):
        saved.clear()
        running = asyncio.create_task(saver.run(saved.append, every_s))
        saver.changed(soon=soon)
        async with asyncio.timeout(10):
            while not saved:
                await asyncio.sleep(0.005)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert saved == ["x"]
