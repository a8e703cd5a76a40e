"""What `up` takes where nothing is said, and what it leaves alone where something is."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from echoplaned import __main__ as root
from echoplaned.composition import host
from echoplaned.engine_kinds import Discovered
from echoplaned.settings import SettingsInvalidError, load_settings
from echoplaned.supervisor import launching
from echoplaned.up import defaults, prepare
from echoplaned.up.defaults import xdg_home


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test homes of its own, no engine on the path, and no variables of ours."""
    for name in list(os.environ):
        if name.startswith("ECHOPLANE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(defaults, "discover", lambda _kinds: Discovered(("llama_cpp=/opt/l",), ("a: b",)))


def test_nothing_is_said(tmp_path: Path) -> None:
    """Loopback with a gateway, the XDG homes, the engines that were found; the folder of models is made."""
    prepared = prepare({}, "")
    settings = load_settings(prepared.flags)
    assert (str(settings.listen), str(settings.gateway_listen)) == ("127.0.0.1:8470", "127.0.0.1:8480")
    assert settings.state_dir == tmp_path / "state/echoplaned"
    assert settings.model_roots == (tmp_path / "data/echoplaned/models",)
    assert settings.engines == ("llama_cpp=/opt/l",)
    assert (prepared.model, prepared.others, prepared.problems) == (None, (), ("a: b",))


def test_what_is_said_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a flag, by a variable, and by an empty flag, which is off."""
    (tmp_path / "m").mkdir()
    monkeypatch.setenv("ECHOPLANE_STATE_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("ECHOPLANE_MODEL_ROOTS", str(tmp_path / "m"))
    prepared = prepare({"gateway_listen": "", "engines": ["llama_cpp=/usr/bin/x"], "log_level": "info"}, "")
    settings = load_settings(prepared.flags)
    assert settings.gateway_listen is None
    assert settings.state_dir == tmp_path / "mine"
    assert settings.model_roots == (tmp_path / "m",)
    assert settings.engines == ("llama_cpp=/usr/bin/x",)
    assert settings.log_level == "INFO"
    assert not (tmp_path / "data").exists()


def test_a_model_by_its_path_brings_its_root(tmp_path: Path) -> None:
    """As narrow as it can be, beside the roots that are given; one that is beneath a root adds nothing."""
    model = tmp_path / "elsewhere/m.gguf"
    model.parent.mkdir()
    model.touch()
    roots = load_settings(prepare({}, str(model)).flags).model_roots
    assert roots == (tmp_path / "data/echoplaned/models", tmp_path / "elsewhere")
    inside = prepare({"model_roots": [str(tmp_path)]}, str(model))
    assert load_settings(inside.flags).model_roots == (tmp_path,)
    assert inside.model is not None
    assert inside.model.path == model


def test_the_only_model_of_the_folder_is_loaded_and_of_several_none(tmp_path: Path) -> None:
    """Which of several is meant is not for us to guess."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m/a.gguf").touch()
    prepared = prepare({"model_roots": [str(tmp_path / "m")]}, "")
    assert prepared.model is not None
    assert prepared.model.model_id == "a-gguf"
    (tmp_path / "m/b.gguf").touch()
    prepared = prepare({"model_roots": [str(tmp_path / "m")]}, "")
    assert prepared.model is None
    assert [one.path.name for one in prepared.others] == ["a.gguf", "b.gguf"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("gone.gguf", "does not exist"),
        ("note.txt/m.gguf", "does not exist"),
        ("n" * 300, "cannot be looked at: File name too long"),
        ("two", "holds 2 models: name one of"),
        ("note.txt", "is neither a GGUF file"),
    ],
)
def test_a_path_that_is_no_model_is_refused(tmp_path: Path, path: str, says: str) -> None:
    """Before anything starts, with what would be one."""
    (tmp_path / "two").mkdir()
    for name in ("two/a.gguf", "two/b.gguf", "note.txt"):
        (tmp_path / name).touch()
    with pytest.raises(SettingsInvalidError) as caught:
        prepare({}, str(tmp_path / path))
    (violation,) = caught.value.failure.violations
    assert violation.field == "MODEL_PATH"
    assert says in violation.description


def test_a_models_directory_that_cannot_be_made_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2 and one line that names the flag; with a directory that is named, nothing is made."""
    (tmp_path / "data").touch()
    assert root.main(["up"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"model_roots: the default '{tmp_path}/data/echoplaned/models' cannot be made: Not a directory" in line
    assert "(--model-root, " in line
    assert prepare({"model_roots": [str(tmp_path)]}, "").model is None


def test_a_relative_base_directory_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the XDG specification has it."""
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert xdg_home("XDG_STATE_HOME", ".local/state", "state_dir") == Path.home() / ".local/state"


@pytest.mark.parametrize(("variable", "flag"), [("XDG_STATE_HOME", "--state-dir"), ("XDG_DATA_HOME", "--model-root")])
def test_without_a_home_directory_the_flag_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, flag: str
) -> None:
    """A container's user id may have none: exit code 2 with one line."""
    without_home(monkeypatch)
    monkeypatch.delenv(variable)
    assert root.main(["up"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"there is no home directory, and {variable} is no absolute path" in line
    assert f"({flag}, " in line


def test_the_daemon_and_its_engines_need_no_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bytecode is kept, an engine's caches end with its instance, and `pki` names the directory that is none."""
    without_home(monkeypatch)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert host._engine_options(load_settings({"state_dir": str(tmp_path)})).bytecode_cache is None
    places = launching.Places(tmp_path, tmp_path / "s", tmp_path / "scratch")
    assert launching._cache_home(places) == tmp_path / "scratch/cache"
    assert root.main(["pki", "init", "~/pki", "--trust-domain", "example.org"]) == 1


def without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a user id that nothing names, and no HOME."""

    def nobody(_uid: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
