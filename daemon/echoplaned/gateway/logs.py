"""Envoy's log files within bounds: a full one is put aside.

It takes the place of the one before it.
"""

from __future__ import annotations

from pathlib import Path

from echoplaned.gateway.options import access_log, application_log


def rotate_logs(state_dir: Path, max_bytes: int) -> bool:
    """Put full logs aside; return whether Envoy has to open them anew."""
    rotated = False
    for path in (access_log(state_dir), application_log(state_dir)):
        try:
            if path.stat().st_size < max_bytes:
                continue
        except FileNotFoundError:
            continue
        path.replace(path.with_name(f"{path.name}.1"))
        rotated = True
    return rotated
