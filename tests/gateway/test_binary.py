"""Which Envoy is found, and what is said where there is none."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from echoplaned.gateway.binary import EnvoyMissingError, find_envoy, read_envoy_version, read_hot_restart_version


def test_the_package_is_found() -> None:
    """The binary beside the interpreter says its versions."""
    binary = find_envoy()
    assert re.fullmatch(r"\d+\.\d+\.\d+", read_envoy_version(binary))
    assert re.match(r"\d+\.\d+", read_hot_restart_version(binary))


def test_a_missing_one_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing on the path, or something that does not run."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvoyMissingError, match=r"echoplaned\[gateway\]"):
        find_envoy()
    broken = tmp_path / "envoy"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o700)
    with pytest.raises(EnvoyMissingError, match="does not run"):
        read_envoy_version(find_envoy())
