"""Envoy's logs stay within bounds."""

from __future__ import annotations

from pathlib import Path

from echoplaned.gateway.logs import rotate_logs
from echoplaned.gateway.options import access_log, application_log


def test_a_full_log_is_put_aside(tmp_path: Path) -> None:
    """What has reached the bound takes the place of the older one; what has not, and what is not there, stays."""
    log = access_log(tmp_path)
    log.parent.mkdir()
    assert not rotate_logs(tmp_path, 10)
    log.write_text("0123456789")
    application_log(tmp_path).write_text("short")
    assert rotate_logs(tmp_path, 10)
    log.write_text("newer lines")
    assert rotate_logs(tmp_path, 10)
    assert {path.name: path.read_text() for path in log.parent.iterdir()} == {
        f"{log.name}.1": "newer lines",
        application_log(tmp_path).name: "short",
    }
