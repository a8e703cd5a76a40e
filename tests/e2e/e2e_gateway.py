"""A daemon with its gateway in front of an embedded engine, in a folder whose path leaves room for sockets."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echoplane import Client
from echoplaned.testing.daemon import DaemonProcess, free_port
from tests.e2e import e2e_system as e


@contextmanager
def gateway_system() -> Iterator[tuple[e.System, str]]:
    """Run one, with no standby worker; yield it and its gateway's address."""
    listening = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="ep-") as folder:
        root = Path(folder).resolve()
        made = e.Checkpoints(root / "models")
        made.root.mkdir()
        gateway = ("--gateway-listen", listening, "--gateway-concurrency", "1")
        daemon = DaemonProcess(root / "state", (made.root,), ("--standby-workers", "0", *gateway))
        try:
            daemon.start(300.0)
            with Client(daemon.address) as client:
                yield e.System(daemon, client, made), listening
        finally:
            daemon.clean()
