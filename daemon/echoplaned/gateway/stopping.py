"""End the gateway's Envoys of a state directory, for good."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from echoplaned.gateway.envoy_process import EnvoyGoneError, EnvoyProcess
from echoplaned.gateway.records import delete_ended, read_live

_END_S: Final = 10.0
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where Envoy puts it


async def stop_gateway(state_dir: Path) -> int:
    """End every Envoy of a state directory; return how many there were.

    They end at once: what is under way is cut.
    """
    ended = 0
    for record in read_live(state_dir):
        with contextlib.suppress(EnvoyGoneError):
            process = EnvoyProcess(record)
            process.terminate()
            if not await process.wait(_END_S):
                process.kill()
                await process.wait(_END_S)
            ended += 1
        (_SHARED_MEMORY / f"envoy_shared_memory_{record.base_id * 10}").unlink(missing_ok=True)
    delete_ended(state_dir)
    return ended
