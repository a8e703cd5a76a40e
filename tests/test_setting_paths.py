"""Paths in settings: what is empty, or beneath nobody's home, is not the working directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from echoplaned.setting_paths import absolute, root_problem
from echoplaned.settings import SettingsInvalidError, load_settings


@pytest.mark.parametrize("setting", ["state_dir", "gateway_tls_dir", "model_roots"])
@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_flag_is_not_the_working_directory(
    setting: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--model-root "$MODELS"`` without the variable let everything beneath the working directory be loaded."""
    monkeypatch.chdir(tmp_path)
    value: object = [str(tmp_path), text] if setting == "model_roots" else text
    with pytest.raises(SettingsInvalidError, match="is empty: name a directory") as caught:
        load_settings({setting: value})
    assert [each.field for each in caught.value.failure.violations] == [setting]


def test_a_dot_is_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who means it says it."""
    monkeypatch.chdir(tmp_path)
    settings = load_settings({"state_dir": ".", "model_roots": ["."]})
    assert (settings.state_dir, settings.model_roots) == (tmp_path, (tmp_path.resolve(),))


def test_nobodys_home_is_no_directory_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tilde that cannot be filled in made a directory called ``~`` in the working directory."""
    monkeypatch.chdir(tmp_path)
    for setting in ("state_dir", "gateway_tls_dir", "key_secret_file"):
        with pytest.raises(SettingsInvalidError, match="no such home directory"):
            load_settings({setting: "~nobody-of-this-name/x"})
    assert absolute(tmp_path / "~x") == tmp_path / "~x"


def test_a_root_that_may_not_be_looked_at_is_not_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to do is another thing: to give a right, not to make a directory."""

    def refuse(_path: Path, *, strict: bool = False) -> Path:
        raise PermissionError(13, "Permission denied") if strict else AssertionError

    monkeypatch.setattr(Path, "resolve", refuse)
    assert root_problem(tmp_path) == "cannot be read"
