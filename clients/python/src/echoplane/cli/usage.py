"""`echoplane usage`."""

from __future__ import annotations

from typing import Annotated

import typer

from echoplane.cli.session import DEFAULT_ADDRESS, DEFAULT_OUTPUT, Address, Format, Output, connected, say
from echoplane.cli.telling import time_text
from echoplane.cli.text import size, table, to_json, to_plain
from echoplane.v1 import diagnostics_pb2 as diagnostics

_HEAD = ("client", "version", "requests", "ok", "4xx", "5xx", "left", "seconds", "received", "sent")


def usage(
    model: Annotated[str, typer.Argument(help="A model; left out: all.", metavar="[MODEL]")] = "",
    *,
    client: Annotated[str, typer.Option("--client", help="Only the client with this key's id.")] = "",
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Show what the gateway's callers used, by client and version.

    It is some seconds late.
    """
    with connected(address) as connection:
        found = connection.get_usage(model, client)
    say(to_json(to_plain(found)) if output is Output.JSON else _text(found))


def _text(found: diagnostics.GetUsageResponse) -> str:
    parts = [f"since {time_text(found.start_time, '%Y-%m-%d %H:%M UTC')}"]
    if found.usages:
        parts.append(table(_HEAD, [_row(each) for each in found.usages]))
    else:
        parts.append("no requests yet")
    if found.tokens or found.uncounted_versions:
        parts.append(table(("version", "prompt tokens", "generated tokens"), _token_rows(found)))
    return "\n\n".join(parts)


def _token_rows(found: diagnostics.GetUsageResponse) -> list[tuple[str, ...]]:
    rows = {each.version: (str(each.prompt_count), str(each.generated_count)) for each in found.tokens}
    # A zero would say that there were none.
    uncounted = dict.fromkeys(found.uncounted_versions, ("not counted", "not counted"))
    return [(_version(name), *counts) for name, counts in sorted({**uncounted, **rows}.items())]


def _version(name: str) -> str:
    """Return ``MODEL/VERSION``."""
    return name.removeprefix("models/").replace("/versions/", "/")


def _row(each: diagnostics.ClientUsage) -> tuple[str, ...]:
    seconds = each.duration.seconds + each.duration.nanos / 1e9
    counts = (
        each.request_count,
        each.ok_count,
        each.client_error_count,
        each.server_error_count,
        each.unanswered_count,
    )
    volumes = (size(each.received_bytes), size(each.sent_bytes))
    return (each.client or "-", _version(each.version) or "-", *map(str, counts), f"{seconds:.1f}", *volumes)
