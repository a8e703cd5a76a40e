"""`echoplane key create|ls|revoke`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from echoplane.cli.escaping import escape
from echoplane.cli.session import (
    DEFAULT_OUTPUT,
    CommandError,
    Commands,
    Format,
    Output,
    connected,
    note,
    say,
)
from echoplane.cli.telling import enum_word, time_text
from echoplane.cli.text import table, to_json, to_plain
from echoplane.options import socket_target
from echoplane.v1 import keys_pb2

app = typer.Typer(
    name="key",
    cls=Commands,
    help="Make, show and revoke the keys of the gateway's callers, on the daemon's unix socket.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
SOCKET_NAME = "api.sock"
LOCAL_SCHEME = "unix:"
DEFAULT_STATE_DIR = Path("~/.local/state/echoplaned")
LocalAddress = Annotated[
    str,
    typer.Option(
        "--address",
        envvar="ECHOPLANE_ADDRESS",
        help="The daemon's unix:/PATH; left out, or a HOST:PORT: the socket in the state directory.",
        metavar="unix:/PATH",
    ),
]
StateDir = Annotated[
    Path, typer.Option("--state-dir", envvar="ECHOPLANE_STATE_DIR", help="The daemon's state directory.")
]


class RoleName(StrEnum):
    """What may be called with a key."""

    VIEWER = "viewer"
    CLIENT = "client"
    OPERATOR = "operator"
    ADMIN = "admin"


def local_address(address: str, state_dir: Path) -> str:
    """Return the socket to call: the address if it is one, else the state directory's.

    Raises:
        CommandError: there is none, so no daemon runs on this directory.
    """
    if address.startswith(LOCAL_SCHEME):
        return address
    socket = state_dir.expanduser().absolute() / SOCKET_NAME
    if not socket.is_socket():
        raise CommandError(
            f"there is no socket {socket}",
            "name the state directory of a daemon that runs on this machine with --state-dir, or its socket with --address unix:/PATH",
        )
    return socket_target(socket)


@app.command("create")
def create(
    *,
    role: Annotated[RoleName, typer.Option("--role", help="What may be called with it.")] = RoleName.CLIENT,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="A model that it is for, may be repeated; left out: all.")
    ] = None,
    per_minute: Annotated[
        int, typer.Option("--requests-per-minute", min=0, help="Requests a minute at most; 0: as many as come.")
    ] = 0,
    name: Annotated[str, typer.Option("--name", help="A name for people.")] = "",
    request_id: Annotated[str, typer.Option("--request-id", help="The same id makes the same key once.")] = "",
    state_dir: StateDir = DEFAULT_STATE_DIR,
    address: LocalAddress = "",
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Make a key, and print it alone on stdout; it is shown this once."""
    request = keys_pb2.CreateKeyRequest(
        role=f"ROLE_{role.name}",
        models=model or (),
        requests_per_minute=per_minute,
        display_name=name,
        request_id=request_id,
    )
    with connected(local_address(address, state_dir)) as client:
        answer = client.create_key(request)
    if output is Output.JSON:
        say(to_json(to_plain(answer)))
        return
    if not answer.secret:
        raise CommandError(f"{answer.key.name} was revoked since", "make another one with another --request-id")
    # The key first: it is in force, and this is the one time that it is seen.
    say(answer.secret)
    note(f"{answer.key.name}, {role.value}; the key is not stored and not shown again")


@app.command("ls")
def ls(*, state_dir: StateDir = DEFAULT_STATE_DIR, address: LocalAddress = "", output: Format = DEFAULT_OUTPUT) -> None:
    """List keys, the oldest first."""
    with connected(local_address(address, state_dir)) as client:
        found = list(client.list_keys())
    if output is Output.JSON:
        say(to_json([to_plain(key) for key in found]))
        return
    rows = [
        (
            key.name.removeprefix("keys/"),
            _word(keys_pb2.Role, key.role),
            _word(keys_pb2.KeyState, key.state),
            ", ".join(key.models) or "all",
            str(key.requests_per_minute or "-"),
            time_text(key.create_time, "%Y-%m-%dT%H:%M:%SZ"),
            escape(key.display_name),
        )
        for key in found
    ]
    say(table(("key", "role", "state", "models", "a minute", "made", "name"), rows))


@app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="The key's id; not the key itself.", metavar="KEY")],
    *,
    state_dir: StateDir = DEFAULT_STATE_DIR,
    address: LocalAddress = "",
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Revoke a key for good: the next request with it is refused."""
    with connected(local_address(address, state_dir)) as client:
        found = client.revoke_key(key)
    say(to_json(to_plain(found)) if output is Output.JSON else f"{found.name} is revoked")


def _word(enum: EnumTypeWrapper, value: int) -> str:
    return (enum_word(enum, value) or "unspecified").lower()
