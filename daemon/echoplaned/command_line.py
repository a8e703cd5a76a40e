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
        "up": "run the daemon and its gateway with defaults, load a model, and say how to call it",
        "serve": "run the daemon",
        "check": "check the settings and this host, then end",
        "stop-engines": "end every engine that a stopped daemon left serving",
    }
)

PKI: Final = "pki"
_PKI: Final = "a CA and certificates for development"


_MODEL_PATH: Final = (
    "GGUF file or checkpoint's directory to load; left out: the one beneath --models, if it is the only one."
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
            flags = [flag_of(setting), *(["--models"] if (name, setting) == ("up", "model_roots") else [])]
            command.add_argument(
                *flags, dest=setting, default=None, action=_action(setting, field), help=_help(setting, field)
            )
        if name == "up":
            command.add_argument("model_path", nargs="?", default="", metavar="MODEL_PATH", help=_MODEL_PATH)
        for old in OLD_NAMES:
            command.add_argument(flag_of(old), dest=old, default=None, help=argparse.SUPPRESS)
    _add_pki(commands.add_parser(PKI, help=_PKI, description=_PKI))
    return parser


def _add_pki(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="pki_command", required=True)
    init = commands.add_parser("init", help="make a CA", description="Make a CA in a new directory.")
    init.add_argument("folder", metavar="DIR", help="Directory that is empty or not there yet.")
    init.add_argument("--trust-domain", required=True, help="Domain of all SPIFFE ids, as example.org.")
    issue = commands.add_parser("issue", help="sign a certificate", description="Sign a new certificate: DIR/NAME.")
    issue.add_argument("name", metavar="NAME", help="Short name; the last part of its SPIFFE id.")
    issue.add_argument("--role", required=True, help="viewer, client, operator, admin or gateway.")
    issue.add_argument(
        "--dns", action="append", metavar="NAME", help="Host name that it serves under; may be repeated."
    )
    issue.add_argument(
        "--ip", action="append", metavar="ADDRESS", help="Address that it serves under; may be repeated."
    )
    text = "Sign certificates anew, with new keys; all without a name."
    rotate = commands.add_parser("rotate", help="renew certificates", description=text)
    rotate.add_argument("names", metavar="NAME", nargs="*", help="Certificates to renew; none: all.")
    for command in (issue, rotate):
        command.add_argument("--dir", dest="folder", metavar="DIR", required=True, help="The PKI's directory.")
    defaults = {init: "365", issue: "1", rotate: "as long as before"}
    for command, default in defaults.items():
        command.add_argument("--days", help=f"How long it is valid, in days [default: {default}].")


def _action(setting: str, field: FieldInfo) -> str:
    if field.annotation is bool:
        return "store_true"
    return "append" if setting in LIST_FLAGS else "store"


def _help(setting: str, field: FieldInfo) -> str:
    default = "" if field.default in {None, ()} else f" [default: {field.default}]"
    return f"{field.description}{default} [{ENVIRONMENT_PREFIX}{setting.upper()}]".replace("%", "%%")
