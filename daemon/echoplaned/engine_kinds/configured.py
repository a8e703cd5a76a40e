"""Foreign kinds as the settings name them: ``--engine NAME=PREFIX``.

NAME is a kind, or a kind with a label behind a dash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from echoplaned.engine_kinds.foreign import EngineMissingError
from echoplaned.engine_kinds.kind import PYTHON, EngineKind

MODULE: Final = "echoplaned.supervisor"
ENGINE_FLAG: Final = "--engine"

_LABEL: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


def split_setting(text: str) -> tuple[str, str]:
    """Take ``NAME=PREFIX`` apart.

    Raises:
        ValueError: it is not of this form.
    """
    name, equals, prefix = text.partition("=")
    if not equals or not name.strip() or not prefix.strip():
        raise ValueError(f"{text[:80]!r} is not NAME=PREFIX, as in llama_cpp=/opt/llama.cpp")
    return name.strip(), prefix.strip()


def declared_name(name: str, declared: tuple[EngineKind, ...]) -> EngineKind | None:
    """Return the declaration behind a name; None: there is none.

    The name is that of the kind itself, or of a kind with a label (``vllm-next``).
    """
    for kind in declared:
        if kind.foreign is None:
            continue
        label = name.removeprefix(f"{kind.name}-")
        if name == kind.name or (label != name and _LABEL.fullmatch(label)):
            return kind
    return None


def configure(text: str, declared: tuple[EngineKind, ...]) -> EngineKind:
    """Return the kind that a setting makes of a declaration.

    It has its name, its leader's command line and its build.

    Raises:
        ValueError: the setting is malformed, names no declared kind, or there is no engine at its prefix.
    """
    name, prefix = split_setting(text)
    kind = declared_name(name, declared)
    if kind is None or kind.foreign is None:
        takes = ", ".join(sorted(one.name for one in declared if one.foreign is not None))
        raise ValueError(f"{name[:40]!r} is no engine; NAME is one of {takes}, or one of them with -LABEL behind it")
    try:
        build = kind.foreign.find_build(prefix)
    except EngineMissingError as error:
        raise ValueError(f"{name}: {error}") from error
    return replace(
        kind,
        name=name,
        command=(PYTHON, "-P", "-m", MODULE, ENGINE_FLAG, f"{name}={prefix}"),
        version=_Version(build.version),
    )


class _Version:
    """The name that measurements of a kind are kept under.

    Compared by its text, so that kinds can be compared.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, environment: Mapping[str, str]) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Version) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)
