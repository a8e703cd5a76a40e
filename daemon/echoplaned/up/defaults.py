"""What ``echoplaned up`` takes where nothing else is said."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from echoplaned.core.failure import InvalidField
from echoplaned.engine_kinds import KINDS, Discovered, discover
from echoplaned.setting_paths import expanded, home_directory
from echoplaned.settings import ENVIRONMENT_PREFIX, SettingsInvalidError, is_given, setting_violation
from echoplaned.up.found_models import FoundModel, find_models, look_problem

GATEWAY: Final = "127.0.0.1:8480"
_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class PreparedUp:
    """What was worked out before the daemon starts.

    Attributes:
        flags: settings as the command line would give them, defaults of ``up`` filled in.
        model: model to load; None: there is none, or it is not clear which.
        others: models that were found and are not loaded.
        models_dir: directory that models are looked for in.
        problems: what was found and cannot be used, one sentence each.
    """

    flags: Mapping[str, object]
    model: FoundModel | None
    others: tuple[FoundModel, ...]
    models_dir: Path
    problems: tuple[str, ...] = ()


def prepare(flags: Mapping[str, object], model: str) -> PreparedUp:
    """Work out the settings, the engines and the model. Blocks.

    Args:
        flags: what the command line gave, by setting.
        model: path of the model to load; empty: the only one beneath the models' directory, if there is one.

    Raises:
        SettingsInvalidError: there is no model at the path, or the models' directory cannot be made.
    """
    given = dict(flags)
    if not is_given("gateway_listen", flags):
        given["gateway_listen"] = GATEWAY
    if not is_given("state_dir", flags):
        given["state_dir"] = str(xdg_home("XDG_STATE_HOME", ".local/state", "state_dir") / "echoplaned")
    if not is_given("log_level", flags):
        given["log_level"] = "WARNING"  # the steps tell what happens; ``serve`` tells it to machines
    roots = _given_list("model_roots", flags, os.pathsep)
    models_dir = Path(roots[0]) if roots else _make_models_dir()
    found = (
        _find(model)
        if model
        else [one for root in roots or [str(models_dir)] for one in find_models(expanded(Path(root)))]
    )
    chosen = found[0] if len(found) == 1 else None
    roots = roots or [str(models_dir)]
    if chosen is not None and not any(
        chosen.root.is_relative_to(os.path.realpath(expanded(Path(root)))) for root in roots
    ):
        roots.append(str(chosen.root))
    given["model_roots"] = tuple(roots)
    known = _given_list("engines", flags, "\n")
    engines: Discovered = discover(KINDS)
    names = {text.partition("=")[0].strip() for text in known}
    given["engines"] = (*known, *(text for text in engines.settings if text.partition("=")[0] not in names))
    return PreparedUp(given, chosen, tuple(one for one in found if one != chosen), models_dir, engines.problems)


def xdg_home(variable: str, default: str, setting: str) -> Path:
    """Return a base directory of the XDG specification; a relative one does not count.

    Raises:
        SettingsInvalidError: there is none for that setting, as there is no home directory.
    """
    path = Path(os.environ.get(variable, ""))
    if path.is_absolute():
        return path
    home = home_directory()
    if home is None:
        problem = f"has no default: there is no home directory, and {variable} is no absolute path: name a directory"
        raise SettingsInvalidError(setting_violation(setting, problem))
    return home / default


def _make_models_dir() -> Path:
    """Make the models' directory that nobody named, and return it.

    Raises:
        SettingsInvalidError: it cannot be made.
    """
    models_dir = xdg_home("XDG_DATA_HOME", ".local/share", "model_roots") / "echoplaned" / "models"
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"the default {str(models_dir)!r} cannot be made: {error.strerror}: name another directory"
        raise SettingsInvalidError(setting_violation("model_roots", problem)) from error
    return models_dir


def _find(text: str) -> list[FoundModel]:
    """Return the one model at a path.

    Raises:
        SettingsInvalidError: there is none, or there are several.
    """
    path = expanded(Path(text))
    found = find_models(path)
    if len(found) == 1:
        return found
    if unseen := look_problem(path):
        problem = f"{text!r:.200} {unseen}"
    elif found:
        some = ", ".join(str(one.path) for one in found[:_LISTED])
        problem = f"{text!r:.200} holds {len(found)} models: name one of {some}{' ...' if len(found) > _LISTED else ''}"
    else:
        problem = f"{text!r:.200} is neither a GGUF file nor a directory with config.json and *.safetensors"
    raise SettingsInvalidError(InvalidField("MODEL_PATH", problem))


def _given_list(setting: str, flags: Mapping[str, object], separator: str) -> list[str]:
    """Return the values of a setting that is a list, by flags or by its variable."""
    value = flags.get(setting)
    if isinstance(value, list | tuple):
        return [str(one) for one in value]
    text = os.environ.get(f"{ENVIRONMENT_PREFIX}{setting.upper()}", "")
    return [part.strip() for part in text.split(separator) if part.strip()]
