"""What sentence-transformers' files ask of an engine.

It is found before a process is started, and refused where it would not be done.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from echoplaned.core.errors import ArchitectureUnsupportedError, SourceCorruptError, SourceUnsupportedError

MODULES_NAME: Final = "modules.json"
_SETTINGS_NAME: Final = "sentence_bert_config.json"
_PROMPTS_NAME: Final = "config_sentence_transformers.json"
_KNOWN_MODULES: Final = frozenset({"Transformer", "Pooling", "Normalize"})
_POOLING_DIRECTORIES: Final = ("", "1_Pooling")
"""The only places of a pooling's config that are part of a version's content."""
_MODES: Final = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}
MAX_JSON_BYTES: Final = 1024 * 1024

ReadFile = Callable[[Path, int], bytes]
"""Read a small regular file; SourceCorruptError where that cannot be done."""


def check_sentences(directory: Path, read: ReadFile) -> None:
    """Refuse a sentence-transformers model that the embedded engine would not match.

    What is left has the vectors that sentence-transformers gives.

    Raises:
        ArchitectureUnsupportedError: modules beside a transformer, pooling and normalising, or a pooling that is elsewhere.
        SourceUnsupportedError: a way of pooling that the engine does not have, with file and field.
        SourceCorruptError: a file is malformed, or names a default prompt that it does not have.
    """
    if (directory / MODULES_NAME).is_file():
        places = _check_modules(_read_json(directory, MODULES_NAME, read))
        prompt = _default_prompt(_object(directory, _PROMPTS_NAME, read))
        for place in places:
            name = f"{place}/config.json" if place else "config.json"
            _check_pooling(name, _object(directory, name, read), prompt)
    _object(directory, _SETTINGS_NAME, read)


def max_seq_length(directory: Path, read: ReadFile) -> int | None:
    """Return the tokens after which sentence-transformers cuts a text.

    None where the files do not say.

    Raises:
        SourceCorruptError: the file is malformed.
    """
    value = _object(directory, _SETTINGS_NAME, read).get("max_seq_length")
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _check_modules(modules: object) -> list[str]:
    """Return where pooling is configured."""
    try:
        entries: list[dict[str, Any]] = list(modules) if isinstance(modules, list) else []
        types = [str(entry["type"]).rpartition(".")[2] for entry in entries]
        places = [str(entry.get("path", "")).rstrip("/") for entry in entries if str(entry["type"]).endswith("Pooling")]
    except (KeyError, TypeError, AttributeError) as error:
        raise SourceCorruptError(f"{MODULES_NAME} is not a list of modules", subject="source_uri") from error
    if not isinstance(modules, list):
        raise SourceCorruptError(f"{MODULES_NAME} is not a list of modules", subject="source_uri")
    for name in places:
        if name not in _POOLING_DIRECTORIES:
            message = f"{MODULES_NAME}: pooling is configured in {name!r:.80}; supported is {_POOLING_DIRECTORIES[1]!r}"
            raise ArchitectureUnsupportedError(message, subject=MODULES_NAME, accepted=_POOLING_DIRECTORIES[1])
    unknown = sorted(set(types) - _KNOWN_MODULES)
    if unknown:
        known = ", ".join(sorted(_KNOWN_MODULES))
        message = f"{MODULES_NAME}: modules of type {', '.join(unknown)} are not supported; supported are {known}"
        raise ArchitectureUnsupportedError(message, subject=MODULES_NAME, accepted=known)
    return places


def _check_pooling(name: str, config: dict[str, object], prompt: str) -> None:
    """Refuse pooling that is not the engine's, or that leaves out a prompt's tokens."""
    known = ", ".join(sorted(_MODES.values()))
    named = config.get("pooling_mode")
    if isinstance(named, str):
        field, chosen = "pooling_mode", [named.lower()]
    else:
        switched = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
        field, chosen = (switched or ["pooling_mode"])[-1], [_MODES.get(key, key) for key in switched]
    if config and (len(chosen) != 1 or chosen[0] not in _MODES.values()):
        asked = " and ".join(chosen) or "nothing"
        message = f"{name}: {field}: pooling by {asked} is not done; exactly one of {known} is"
        raise SourceUnsupportedError(message, subject=f"{name}: {field}", accepted=known)
    if prompt and config.get("include_prompt") is False:
        field = f"{name}: include_prompt"
        message = f"{field}: leaving the default prompt's tokens out of the vector is not done; set it to true"
        raise SourceUnsupportedError(message, subject=field, accepted="true")


def _default_prompt(config: dict[str, object]) -> str:
    """Return what is put before every text.

    Raises:
        SourceCorruptError: the default prompt is not among the prompts.
    """
    name, prompts = config.get("default_prompt_name"), config.get("prompts")
    if name is None:
        return ""
    prompt = prompts.get(name) if isinstance(prompts, dict) and isinstance(name, str) else None
    if not isinstance(prompt, str):
        message = f"{_PROMPTS_NAME}: default_prompt_name is {name!r:.80}, which is not among its prompts"
        raise SourceCorruptError(message, subject=f"{_PROMPTS_NAME}: default_prompt_name")
    return prompt


def _object(directory: Path, name: str, read: ReadFile) -> dict[str, object]:
    """Return an object's fields; none where there is no such file.

    Raises:
        SourceCorruptError: it is none.
    """
    if not (directory / name).is_file():
        return {}
    found = _read_json(directory, name, read)
    if not isinstance(found, dict):
        raise SourceCorruptError(f"{name} is not an object", subject=name)
    return found


def _read_json(directory: Path, name: str, read: ReadFile) -> object:
    try:
        return json.loads(read(directory / name, MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        what = "a list of modules" if name == MODULES_NAME else "an object"
        raise SourceCorruptError(f"{name} is not {what}", subject="source_uri") from error
