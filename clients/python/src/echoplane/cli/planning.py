"""`echoplane plan` and `echoplane devices`."""

from __future__ import annotations

from typing import Annotated

import typer

from echoplane.cli import show
from echoplane.cli.offline import plan_here
from echoplane.cli.session import DEFAULT_ADDRESS, DEFAULT_OUTPUT, Address, Format, Output, connected, say
from echoplane.cli.text import size, table, to_json, to_plain, word
from echoplane.cli.values import DtypeName, dtype_of, settings, source_uri
from echoplane.v1 import planning_pb2


def plan(
    source: Annotated[
        str,
        typer.Argument(help="Checkpoint directory, GGUF file or config.json; a path or a file: URI.", metavar="SOURCE"),
    ],
    *,
    update_of: Annotated[
        str, typer.Option("--update-of", help="Plan it beside this model's serving version; asks the daemon.")
    ] = "",
    engine: Annotated[str, typer.Option("--engine", help="Engine kind; left out: torch.")] = "",
    engine_option: Annotated[
        list[str] | None, typer.Option("--engine-option", help="NAME=VALUE, may be repeated.")
    ] = None,
    dtype: Annotated[DtypeName | None, typer.Option("--dtype", help="Weight dtype; left out: as stored.")] = None,
    context_length: Annotated[
        int, typer.Option("--context-length", min=0, help="Tokens; 0: what the checkpoint allows.")
    ] = 0,
    max_concurrency: Annotated[
        int, typer.Option("--max-concurrency", min=0, help="Sequences at once; 0: the default.")
    ] = 0,
    replicas: Annotated[int, typer.Option("--replicas", min=0, help="Instances; 0: one.")] = 0,
    ask_daemon: Annotated[
        bool, typer.Option("--daemon", help="Ask the daemon, even where a plan can be made here.")
    ] = False,  # a flag
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Say how much memory a checkpoint needs, where it would go, and what would fit if it does not. Changes nothing."""
    request = planning_pb2.PlanModelRequest(
        model_id=update_of,
        source_uri=source_uri(source),
        engine=engine,
        engine_options=settings(engine_option or (), "--engine-option"),
        dtype=dtype_of(dtype),
        context_length=context_length,
        max_concurrency=max_concurrency,
        replicas=replicas,
    )
    # Only the embedded engine is sized here, and only the daemon knows what is reserved.
    here = not (update_of or ask_daemon or engine_option) and engine in {"", "torch"}
    found = plan_here(request) if here else None
    if found is None:
        with connected(address) as client:
            found = client.plan_model(request)
    say(to_json(to_plain(found)) if output is Output.JSON else show.plan_text(found))


def devices(address: Address = DEFAULT_ADDRESS, output: Format = DEFAULT_OUTPUT) -> None:
    """List the devices that hold models, with what is free on each."""
    with connected(address) as client:
        found = list(client.list_devices())
    if output is Output.JSON:
        say(to_json([to_plain(device) for device in found]))
        return
    rows = [
        (
            device.device_id,
            word(planning_pb2.DeviceKind.Name(device.kind), "DEVICE_KIND").lower(),
            device.name,
            size(device.capacity_bytes),
            size(device.reserve_bytes),
            size(device.reserved_bytes),
            size(device.free_bytes),
            str(len(device.reservations)),
        )
        for device in found
    ]
    say(table(("device", "kind", "name", "capacity", "kept back", "reserved", "free", "instances"), rows))
