"""The daemon's command line: every setting is a flag, described once."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from importlib.metadata import version as distribution_version
from types import MappingProxyType
from typing import Final

from pydantic.fields import FieldInfo

from echoplaned.settings import ENVIRONMENT_PREFIX, LIST_FLAGS, OLD_NAMES, Settings, flag_of

_COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "serve": "run the daemon",
        "check": "check the settings and this host, then end",
        "stop-engines": "end every engine that a stopped daemon left serving",
    }
)


def parse(arguments: Sequence[str] | None = None) -> tuple[str, dict[str, object]]:
    """Return the command and what was said of each setting; None: nothing.

    Raises:
        SystemExit: the arguments are no command line of ours (2), or ask for help or the version (0).
    """
    options = vars(_parser().parse_args(arguments))
    return str(options.pop("command")), options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="echoplaned", description="The Echoplane daemon: a control plane for serving models."
    )
    parser.add_argument("--version", action="version", version=distribution_version("echoplaned"))
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        for setting, field in Settings.model_fields.items():
            command.add_argument(
                flag_of(setting), dest=setting, default=None, action=_action(setting, field), help=_help(setting, field)
            )
        for old in OLD_NAMES:
            command.add_argument(flag_of(old), dest=old, default=None, help=argparse.SUPPRESS)
    return parser


def _action(setting: str, field: FieldInfo) -> str:
    if field.annotation is bool:
        return "store_true"
    return "append" if setting in LIST_FLAGS else "store"


def _help(setting: str, field: FieldInfo) -> str:
    default = "" if field.default in {None, ()} else f" [default: {field.default}]"
    return f"{field.description}{default} [{ENVIRONMENT_PREFIX}{setting.upper()}]".replace("%", "%%")
