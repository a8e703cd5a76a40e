"""`echoplane plan` and `echoplane devices`."""

from __future__ import annotations

import typer

from echoplane.cli import plan_options, plan_text
from echoplane.cli.escaping import escape
from echoplane.cli.offline import Here, plan_here
from echoplane.cli.serving import Concurrency, Context, Dtype, Replicas
from echoplane.cli.session import (
    DEFAULT_ADDRESS,
    DEFAULT_OUTPUT,
    Address,
    CommandError,
    Format,
    Output,
    connected,
    note,
    say,
)
from echoplane.cli.telling import enum_word
from echoplane.cli.text import size, table, to_json, to_plain
from echoplane.cli.values import dtype_of, settings, source_uri
from echoplane.errors import EchoplaneError, from_status
from echoplane.v1 import planning_pb2

Result = Here | EchoplaneError


def plan(
    sources: plan_options.Sources,
    *,
    update_of: plan_options.UpdateOf = "",
    engine: plan_options.Engine = "",
    engine_option: plan_options.EngineOptions = None,
    dtype: Dtype = None,
    context_length: Context = 0,
    max_concurrency: Concurrency = 0,
    replicas: Replicas = 0,
    device: plan_options.OnDevice = "",
    fit: plan_options.Fit = False,  # a flag
    explain: plan_options.Explain = False,  # a flag
    ask_daemon: plan_options.AskDaemon = False,  # a flag
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Say how much memory checkpoints need, and where they would go.

    Says what would fit if they do not. Changes nothing.
    """
    asked = planning_pb2.PlanModelRequest(
        model_id=update_of,
        engine=engine,
        engine_options=settings(engine_option or (), "--engine-option"),
        dtype=dtype_of(dtype),
        context_length=context_length,
        max_concurrency=max_concurrency,
        replicas=replicas,
    )
    requests = [_request(asked, source) for source in sources]
    # Only the daemon knows what is reserved.
    by_daemon = bool(update_of or ask_daemon)
    results = None if by_daemon else _plans_here(requests, device, fit=fit)
    if results is None:
        if device or fit:
            raise CommandError("--device and --fit are worked out here", _HOW_HERE)
        results = _plans_of_daemon(requests, address)
    if len(sources) == 1:
        _say_one(sources[0], results[0], output, explain=explain)
    else:
        _say_all(sources, results, output, explain=explain)


_HOW_HERE = "leave --daemon and --update-of out, and install `echoplaned` beside this client"


def _request(asked: planning_pb2.PlanModelRequest, source: str) -> planning_pb2.PlanModelRequest:
    request = planning_pb2.PlanModelRequest(source_uri=source_uri(source))
    request.MergeFrom(asked)
    return request


def _plans_here(requests: list[planning_pb2.PlanModelRequest], device: str, *, fit: bool) -> list[Result] | None:
    """Return a result for each request, each as if the devices were empty.

    None where the planner is not installed.
    """
    results: list[Result] = []
    for request in requests:
        try:
            found = plan_here(request, device, fit=fit)
        except EchoplaneError as error:
            results.append(error)
            continue
        if found is None:
            return None
        results.append(found)
    return results


def _say_one(source: str, found: Result, output: Output, *, explain: bool) -> None:
    """Print one plan, or raise why there is none."""
    if isinstance(found, EchoplaneError):
        raise found
    say(to_json(_plain(found)) if output is Output.JSON else _text(found, explain=explain))
    _require_served([(source, found)])


def _plain(found: Here) -> dict[str, object]:
    """Return the plan's own fields; beside them what fits, where that was asked for."""
    plain = to_plain(found.plan)
    return {**plain, "fit": list(found.fleet)} if found.fleet else plain


def _text(found: Here, *, explain: bool) -> str:
    text = plan_text.plan_text(found.plan, explain=explain)
    return f"{text}\n\n{plan_text.fleet_table(found.fleet)}" if found.fleet else text


def _plans_of_daemon(requests: list[planning_pb2.PlanModelRequest], address: str) -> list[Result]:
    """Return a result a request, each as if those before it were placed."""
    with connected(address) as client:
        if len(requests) == 1:
            return [Here(client.plan_model(requests[0]))]
        found = client.plan_models(requests)
    return [Here(one.plan) if one.HasField("plan") else from_status(one.error) for one in found]


def _say_all(sources: list[str], results: list[Result], output: Output, *, explain: bool) -> None:
    """Print one line a source, then what failed.

    Several sources are fine only where all of them could be planned.
    """
    both = list(zip(sources, results, strict=True))
    planned = [(source, one) for source, one in both if isinstance(one, Here)]
    failed = [(source, one) for source, one in both if isinstance(one, EchoplaneError)]
    if output is Output.JSON:
        say(to_json([{"source": source, **_entry(one)} for source, one in both]))
    else:
        say(plan_text.plans_table([(source, one.plan) for source, one in planned]))
        for source, one in planned:
            if explain or one.fleet:
                say(f"\n{source}\n{_text(one, explain=explain)}")
    for source, error in failed:
        note(f"{source}: {error}")
    if failed:
        raise typer.Exit(1)
    _require_served(planned)


def _entry(found: Result) -> dict[str, object]:
    return {"error": str(found)} if isinstance(found, EchoplaneError) else {"plan": _plain(found)}


def _require_served(planned: list[tuple[str, Here]]) -> None:
    """End with an exit code of 1 where an engine would not load a checkpoint.

    Its size can be planned all the same.
    """
    refused = [(source, one.plan) for source, one in planned if not plan_text.is_served(one.plan)]
    for source, found in refused:
        typer.echo(f"{source}: serves: no: {found.serves_reason}: {found.serves_detail}", err=True)
    if refused:
        raise typer.Exit(1)


def devices(address: Address = DEFAULT_ADDRESS, output: Format = DEFAULT_OUTPUT) -> None:
    """List the devices that hold models, with what is free on each.

    Names who else holds memory there.
    """
    with connected(address) as client:
        found = list(client.list_devices())
    if output is Output.JSON:
        say(to_json([to_plain(device) for device in found]))
        return
    rows = [
        (
            device.device_id,
            enum_word(planning_pb2.DeviceKind, device.kind).lower(),
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
