"""The daemon's own socket: whoever can open it is the daemon's user.

The whole API answers there, the keys included.
"""

from __future__ import annotations

from pathlib import Path

from echoplaned.addresses import MAX_SOCKET_PATH_BYTES


def api_socket(state_dir: Path) -> Path | None:
    """Return where a state directory's socket is; None: the path is too long for one."""
    path = state_dir / "api.sock"
    return path if len(str(path).encode(errors="surrogateescape")) <= MAX_SOCKET_PATH_BYTES else None
