"""`echoplane plan` and `echoplane devices`."""

from __future__ import annotations

from typing import Annotated

import typer

from echoplane.cli import show
from echoplane.cli.escaping import escape
from echoplane.cli.offline import plan_here
from echoplane.cli.serving import Concurrency, Context, Dtype, Replicas
from echoplane.cli.session import DEFAULT_ADDRESS, DEFAULT_OUTPUT, Address, Format, Output, connected, note, say
from echoplane.cli.text import size, table, to_json, to_plain, word
from echoplane.cli.values import dtype_of, settings, source_uri
from echoplane.errors import EchoplaneError, from_status
from echoplane.v1 import planning_pb2, plans_pb2


def plan(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Checkpoint directories, GGUF files or config.json files; paths or file: URIs.", metavar="SOURCE..."
        ),
    ],
    *,
    update_of: Annotated[
        str, typer.Option("--update-of", help="Plan it beside this model's serving version; asks the daemon.")
    ] = "",
    engine: Annotated[
        str,
        typer.Option("--engine", help="Engine kind; left out: torch. Here also vllm, aphrodite, sglang, llama.cpp."),
    ] = "",
    engine_option: Annotated[
        list[str] | None,
        typer.Option(
            "--engine-option",
            help="NAME=VALUE, may be repeated. Here: weights (NF4, FP8, Q4_K ...), kv_dtype, tensor_parallel, "
            "pipeline_parallel, block_size, max_batched_tokens, lora_adapters, lora_rank.",
        ),
    ] = None,
    dtype: Dtype = None,
    context_length: Context = 0,
    max_concurrency: Concurrency = 0,
    replicas: Replicas = 0,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show every component's numbers and where its formula comes from.")
    ] = False,  # a flag
    ask_daemon: Annotated[
        bool, typer.Option("--daemon", help="Ask the daemon, even where a plan can be made here.")
    ] = False,  # a flag
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Say how much memory checkpoints need, where they would go, and what would fit if they do not. Changes nothing."""
    requests = [
        planning_pb2.PlanModelRequest(
            model_id=update_of,
            source_uri=source_uri(source),
            engine=engine,
            engine_options=settings(engine_option or (), "--engine-option"),
            dtype=dtype_of(dtype),
            context_length=context_length,
            max_concurrency=max_concurrency,
            replicas=replicas,
        )
        for source in sources
    ]
    # Only the daemon knows what is reserved.
    results = None if update_of or ask_daemon else _plans_here(requests)
    if results is None:
        results = _plans_of_daemon(requests, address)
    if len(sources) == 1:
        ((_, only),) = zip(sources, results, strict=True)
        if isinstance(only, EchoplaneError):
            raise only
        say(to_json(to_plain(only)) if output is Output.JSON else show.plan_text(only, explain=explain))
        _require_served([(sources[0], only)])
        return
    _say_all(sources, results, output, explain=explain)


Result = plans_pb2.Plan | EchoplaneError


def _plans_here(requests: list[planning_pb2.PlanModelRequest]) -> list[Result] | None:
    """Return a result a request, each as if this host's devices were empty; None where the planner is not installed."""
    results: list[Result] = []
    for request in requests:
        try:
            found = plan_here(request)
        except EchoplaneError as error:
            results.append(error)
            continue
        if found is None:
            return None
        results.append(found)
    return results


def _plans_of_daemon(requests: list[planning_pb2.PlanModelRequest], address: str) -> list[Result]:
    """Return a result a request, each as if those before it were placed."""
    with connected(address) as client:
        if len(requests) == 1:
            return [client.plan_model(requests[0])]
        found = client.plan_models(requests)
    return [one.plan if one.HasField("plan") else from_status(one.error) for one in found]


def _say_all(sources: list[str], results: list[Result], output: Output, *, explain: bool) -> None:
    """Print one line a source, then what failed; several sources are fine only where all of them could be planned."""
    if output is Output.JSON:
        say(
            to_json(
                [
                    {"source": source, "error": str(one)}
                    if isinstance(one, EchoplaneError)
                    else {"source": source, "plan": to_plain(one)}
                    for source, one in zip(sources, results, strict=True)
                ]
            )
        )
    else:
        planned = [
            (source, one) for source, one in zip(sources, results, strict=True) if isinstance(one, plans_pb2.Plan)
        ]
        say(show.plans_table(planned))
        if explain:
            for source, one in planned:
                say(f"\n{source}\n{show.plan_text(one, explain=True)}")
    failed = [
        f"{source}: {one}" for source, one in zip(sources, results, strict=True) if isinstance(one, EchoplaneError)
    ]
    for line in failed:
        note(line)
    if failed:
        raise typer.Exit(1)
    _require_served(
        [(source, one) for source, one in zip(sources, results, strict=True) if isinstance(one, plans_pb2.Plan)]
    )


def _require_served(planned: list[tuple[str, plans_pb2.Plan]]) -> None:
    """End with an exit code of 1 where a checkpoint has a size and its engine would not load it."""
    refused = [(source, plan) for source, plan in planned if not show.is_served(plan)]
    for source, plan in refused:
        typer.echo(f"{source}: serves: no: {plan.serves_reason}: {plan.serves_detail}", err=True)
    if refused:
        raise typer.Exit(1)


def devices(address: Address = DEFAULT_ADDRESS, output: Format = DEFAULT_OUTPUT) -> None:
    """List the devices that hold models, with what is free on each, and who else holds memory there."""
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
            size(device.measured.foreign_bytes) if device.HasField("measured") else "not told",
            size(device.available_bytes if device.HasField("measured") else device.free_bytes),
            str(len(device.reservations)),
        )
        for device in found
    ]
    headers = ("device", "kind", "name", "capacity", "kept back", "reserved", "foreign", "free", "instances")
    say(table(headers, rows))
    for device in found:
        if device.measured.holders:
            named = ", ".join(f"{escape(one.name)} {size(one.bytes)}" for one in device.measured.holders)
            say(f"{device.device_id}: the largest of the others: {named}")
