"""Settings under their names of earlier releases: they count, nobody is shown them, and each is named once in a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

import echoplaned.__main__ as root
from echoplaned.command_line import parse
from echoplaned.settings import SettingsInvalidError, load_settings


def test_an_old_flag_sets_what_it_meant() -> None:
    """The flags of the last release go on working, as they were written then."""
    _, options = parse(["serve", "--spare-workers", "3", "--traces", "0.25"])
    settings = load_settings(options)
    assert (settings.standby_workers, settings.trace_sampling_ratio) == (3, 0.25)


def test_an_old_variable_sets_what_it_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """So do the variables; an empty one is not set."""
    monkeypatch.setenv("ECHOPLANE_SPARE_WORKERS", "4")
    monkeypatch.setenv("ECHOPLANE_TRACES", "")
    settings = load_settings({})
    assert (settings.standby_workers, settings.trace_sampling_ratio) == (4, 1.0)


def test_the_new_name_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two names of one setting the new one counts; a flag still comes before a variable."""
    monkeypatch.setenv("ECHOPLANE_SPARE_WORKERS", "4")
    monkeypatch.setenv("ECHOPLANE_STANDBY_WORKERS", "5")
    assert load_settings({}).standby_workers == 5
    assert load_settings({"spare_workers": "6"}).standby_workers == 6
    assert load_settings({"spare_workers": "6", "standby_workers": "7"}).standby_workers == 7


def test_a_wrong_value_is_named_by_the_new_name() -> None:
    """The error says what to give from now on."""
    with pytest.raises(SettingsInvalidError) as caught:
        load_settings({"traces": "2"})
    (wrong,) = caught.value.failure.violations
    assert wrong.field == "trace_sampling_ratio"
    assert "--trace-sampling-ratio, ECHOPLANE_TRACE_SAMPLING_RATIO" in wrong.description


def test_no_help_shows_an_old_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Who reads the help learns the new names alone."""
    with pytest.raises(SystemExit):
        parse(["serve", "--help"])
    said = capsys.readouterr().out
    assert "--standby-workers" in said
    assert "--spare-workers" not in said
    assert "--traces" not in said


def test_each_old_name_is_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line a name says what to give instead; the new names are silent."""
    monkeypatch.setenv("ECHOPLANE_SPARE_WORKERS", "1")
    arguments = ["check", "--state-dir", str(tmp_path / "state")]
    assert root.main([*arguments, "--traces", "0.5"]) == 0
    captured = capsys.readouterr()
    lines = [line for line in (captured.out + captured.err).splitlines() if "setting.renamed" in line]
    assert len(lines) == 2
    assert "--trace-sampling-ratio" in lines[0]
    assert "ECHOPLANE_STANDBY_WORKERS" in lines[1]
    monkeypatch.delenv("ECHOPLANE_SPARE_WORKERS")
    assert root.main([*arguments, "--trace-sampling-ratio", "0.5"]) == 0
    captured = capsys.readouterr()
    assert "setting.renamed" not in captured.out + captured.err
