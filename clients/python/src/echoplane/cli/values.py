"""What people type, as the API's values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import cast

import typer
from google.protobuf.json_format import ParseDict, ParseError

from echoplane.v1 import rollouts_pb2, types_pb2


class DtypeName(StrEnum):
    """Weight dtypes."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"


class TierName(StrEnum):
    """Tiers."""

    HOT = "hot"
    WARM = "warm"
    COLD = "cold"


class BehaviourName(StrEnum):
    """What the caller says of an update's behaviour."""

    EQUIVALENT = "equivalent"
    INTENDED = "intended"


def dtype_of(name: DtypeName | None) -> types_pb2.Dtype:
    """Return the API's dtype; unspecified for None."""
    return cast(types_pb2.Dtype, types_pb2.Dtype.Value(f"DTYPE_{name.name}")) if name else types_pb2.DTYPE_UNSPECIFIED


def tier_of(name: TierName | None) -> types_pb2.Tier:
    """Return the API's tier; unspecified for None."""
    return cast(types_pb2.Tier, types_pb2.Tier.Value(f"TIER_{name.name}")) if name else types_pb2.TIER_UNSPECIFIED


def behaviour_of(name: BehaviourName | None) -> types_pb2.BehaviourChange:
    """Return the API's behaviour change; unspecified for None."""
    if name is None:
        return types_pb2.BEHAVIOUR_CHANGE_UNSPECIFIED
    return cast(types_pb2.BehaviourChange, types_pb2.BehaviourChange.Value(f"BEHAVIOUR_CHANGE_{name.name}"))


def source_uri(text: str) -> str:
    """Return a source as a URI; a path becomes absolute.

    Links in it stay for the daemon to judge.
    """
    if not text or ":" in text.split("/", maxsplit=1)[0]:
        return text
    return f"file:{Path(text).absolute()}"


def settings(entries: Iterable[str], what: str) -> dict[str, str]:
    """Return ``NAME=VALUE`` entries as a mapping.

    Raises:
        typer.BadParameter: an entry has no ``=`` or no name.
    """
    found: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{entry!r} is not NAME=VALUE", param_hint=what)
        found[name] = value
    return found


def policy_of(file: Path | None, overrides: Iterable[str]) -> rollouts_pb2.RolloutPolicy | None:
    """Return the policy in a JSON file with ``NAME=VALUE`` settings on top.

    Values are JSON, or text. None where neither is given.

    Raises:
        typer.BadParameter: the file cannot be read, or a name or value is not the policy's.
    """
    values: dict[str, object] = {}
    try:
        if file is not None:
            values.update(json.loads(file.read_text(encoding="utf-8")))
        for name, text in settings(overrides, "--set").items():
            _put(values, name, _json_or_text(text))
        if "on_expire" in values:
            values["on_expire"] = f"ON_EXPIRE_{str(values['on_expire']).upper().removeprefix('ON_EXPIRE_')}"
        return ParseDict(values, rollouts_pb2.RolloutPolicy()) if values else None
    except (OSError, ValueError, TypeError, ParseError) as error:
        raise typer.BadParameter(f"{error}", param_hint="--policy/--set") from error


def _put(values: dict[str, object], name: str, value: object) -> None:
    """Set a field; ``echo.alpha`` is the field ``alpha`` of the message ``echo``."""
    outer, dot, inner = name.partition(".")
    if not dot:
        values[name] = value
        return
    within = values.setdefault(outer, {})
    if not isinstance(within, dict):
        raise TypeError(f"{outer} has no fields")
    within[inner] = value


def _json_or_text(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
