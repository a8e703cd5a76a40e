"""Resource names: short forms that people write, and full ones that the API takes."""

from __future__ import annotations

import re

_MAX_ID_CHARS = 63
_NOT_IN_IDS = re.compile(r"[^a-z0-9]")


def model_name(text: str) -> str:
    """Return ``models/NAME`` for ``NAME`` or ``models/NAME``."""
    return text if text.startswith("models/") else f"models/{text}"


def model_id(text: str) -> str:
    """Return the model's plain id of any name of the model or of what belongs to it."""
    return text.removeprefix("models/").split("/", maxsplit=1)[0]


def propose_id(text: str) -> str:
    """Return a model id for a checkpoint's name or path; empty: it makes none.

    It is the last part in lower case, with ``-`` for other characters than letters and digits.
    """
    last = text.rstrip("/").rpartition("/")[2].removeprefix("file:").lower()
    return _NOT_IN_IDS.sub("-", last).lstrip("-0123456789")[:_MAX_ID_CHARS].rstrip("-")


def version_name(text: str) -> str:
    """Return ``models/M/versions/V`` for ``M/V`` or the full name.

    Raises:
        ValueError: the text names no version.
    """
    return _belonging(text, "versions")


def rollout_name(text: str) -> str:
    """Return ``models/M/rollouts/R`` for ``M/R`` or the full name.

    Raises:
        ValueError: the text names no rollout.
    """
    return _belonging(text, "rollouts")


def is_version(text: str) -> bool:
    """Say whether the text names a version: ``M/V`` or ``models/M/versions/V``."""
    parts = text.split("/")
    return (len(parts) == 2 and parts[0] not in {"models", "operations"}) or (
        len(parts) == 4 and parts[2] == "versions"
    )


def is_rollout(text: str) -> bool:
    """Say whether the text is a rollout's full name."""
    parts = text.split("/")
    return len(parts) == 4 and parts[2] == "rollouts"


def short(name: str) -> str:
    """Return the last part of a resource name: the id that people know it by."""
    return name.rpartition("/")[2]


def _belonging(text: str, collection: str) -> str:
    parts = text.split("/")
    if len(parts) == 4 and parts[0] == "models" and parts[2] == collection:
        return text
    if len(parts) == 2 and all(parts) and parts[0] not in {"models", "operations"}:
        return f"models/{parts[0]}/{collection}/{parts[1]}"
    raise ValueError(f"{text!r} is neither MODEL/ID nor models/MODEL/{collection}/ID")
