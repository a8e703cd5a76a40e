"""The systemd unit: what systemd says of it, that engines survive its restart, and that its command line is one of ours."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest

from echoplaned.command_line import parse
from echoplaned.settings import load_settings

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
UNIT: Final = DEPLOY / "echoplaned.service"
ANALYZE: Final = shutil.which("systemd-analyze")
MAX_EXPOSURE: Final = 25
"""In tenths; systemd itself calls everything below 5.0 acceptable. A service without any of this has 9.6."""


@pytest.fixture
def unit() -> dict[str, list[str]]:
    """The unit's assignments, by name."""
    found = defaultdict[str, list[str]](list)
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[name].append(value)
    return found


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Ask systemd's own checker."""
    if ANALYZE is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([ANALYZE, *words], capture_output=True, text=True, check=False)


def test_systemd_takes_it(tmp_path: Path) -> None:
    """Every key and value; the program is replaced by one that is here."""
    copy = tmp_path / UNIT.name
    program = tmp_path / "echoplaned"  # systemd's lines end a path at a space, which a checkout's may have
    program.symlink_to(Path(sys.executable).with_name("echoplaned"))
    copy.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/echoplane/bin/echoplaned serve", f"{program} serve"))
    done = analyze("verify", copy)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_is_exposed_little() -> None:
    """By systemd's own measure, so that whoever takes a line out sees it."""
    done = analyze("security", "--offline=true", f"--threshold={MAX_EXPOSURE}", "--no-pager", UNIT)
    assert done.returncode == 0, done.stdout[-2000:]


def test_engines_outlive_it(unit: dict[str, list[str]]) -> None:
    """Only the daemon is told to end; nothing that engines use goes with it; one that dies for memory takes nobody along."""
    assert unit["KillMode"] == ["process"]
    assert unit["OOMPolicy"] == ["continue"]
    assert "DynamicUser" not in unit
    assert unit["User"] == ["echoplane"]
    for name in (
        "PrivateTmp",
        "RuntimeDirectory",
        "PrivateUsers",
        "PrivateDevices",
        "PrivateIPC",
        "MemoryDenyWriteExecute",
    ):
        assert name not in unit
    assert "u echoplane " in (DEPLOY / "echoplane.sysusers.conf").read_text(encoding="utf-8")


def test_its_settings_are_ours(unit: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line is parsed, its state lies in the unit's own directory, and wrong settings are not tried again."""
    for text in unit["Environment"]:
        for name, value in re.findall(r"(\w+)=(\S+)", text):
            monkeypatch.setenv(name, value)
    command, flags = parse(unit["ExecStart"][0].split()[1:])
    settings = load_settings(flags)
    assert command == "serve"
    assert str(settings.state_dir).startswith(f"/var/lib/{unit['StateDirectory'][0].split()[0]}/")
    assert str(settings.gateway_listen) == "127.0.0.1:8480"
    assert str(settings.metrics_listen) == "127.0.0.1:8471"
    assert unit["RestartPreventExitStatus"] == ["2"]
