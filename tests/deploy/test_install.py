"""The installer of the unit and of the image, with two wheels of our names that hold next to nothing."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path
from typing import Final

import pytest

from tests.built_wheels import CONSTRAINTS, ROOT, own_environment

INSTALL: Final = ROOT / "deploy/install.sh"

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


def make_wheel(folder: Path, name: str, version: str, says: str) -> Path:
    """Write a wheel whose command of the same name prints a text."""
    about = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"def main() -> None:\n    print({says!r})\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: gateway\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{about}/RECORD"))
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def install(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the installer in a folder, as root does whose files nobody else reads."""
    return subprocess.run(
        ["/bin/sh", "-c", 'umask 077 && exec "$0" "$@"', INSTALL, *words],
        cwd=folder,
        env=own_environment() | {"PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_takes_a_folder_as_the_docs_name_it_and_what_was_built_anew(tmp_path: Path) -> None:
    """Named from where one stands; another build of the same version takes the place of the first; everybody reads it."""
    for says in ("first build", "second build"):
        make_wheel(tmp_path / "our dist", "echoplane", "0.1.0", says)
        make_wheel(tmp_path / "our dist", "echoplaned", "0.1.0", says)
        done = install(tmp_path, "our dist", str(CONSTRAINTS), "prefix", "gateway")
        assert (done.returncode, done.stdout) == (0, f"{says}\n"), done.stderr
    closed = [path for path in (tmp_path / "prefix").rglob("*") if not path.stat().st_mode & 0o004]
    assert closed == []
    assert (tmp_path / "prefix").stat().st_mode & 0o005 == 0o005


def test_it_does_not_guess_which_wheel_is_meant(tmp_path: Path) -> None:
    """Two versions of one wheel, or none: exit code 2 and a line with what is there, before anything is made."""
    make_wheel(tmp_path / "dist", "echoplane", "0.1.0", "client")
    for version in ("0.1.0", "0.2.0"):
        make_wheel(tmp_path / "dist", "echoplaned", version, "daemon")
    done = install(tmp_path, "dist", str(CONSTRAINTS), "prefix")
    assert done.returncode == 2
    assert done.stderr == (
        "install.sh: one wheel is needed, and here are: "
        "dist/echoplaned-0.1.0-py3-none-any.whl dist/echoplaned-0.2.0-py3-none-any.whl\n"
    )
    assert install(tmp_path, "empty", str(CONSTRAINTS), "prefix").returncode == 2
    assert not (tmp_path / "prefix").exists()
