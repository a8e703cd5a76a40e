"""`echoplane health`, `explain`, `events` and `status`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echoplane.cli import picture, show
from echoplane.cli.escaping import escape
from echoplane.cli.follow import counts_text, verdict_word
from echoplane.cli.session import DEFAULT_ADDRESS, DEFAULT_OUTPUT, Address, CommandError, Format, Output, connected, say
from echoplane.cli.telling import enum_word, time_text
from echoplane.cli.text import pairs, plan_lines, size, table, to_json, to_json_line, to_plain
from echoplane.names import is_version, short, version_name
from echoplane.v1 import diagnostics_pb2 as diagnostics
from echoplane.v1 import types_pb2
from echoplane.v1.rollouts_pb2 import BehaviourReport, RolloutPhase

_MOMENT = "%Y-%m-%d %H:%M:%S"
_PICTURE_ALPHA = 0.002  # the policy's default: the line in a picture, not a decision


def health(
    model: Annotated[str, typer.Argument(help="A model; left out: the control plane itself.", metavar="[MODEL]")] = "",
    *,
    probe: Annotated[bool, typer.Option("--probe", help="Probe the model now with real inferences.")] = False,
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Say whether a model, or the control plane, serves.

    Ends with 0 where it does, whole.
    """
    if probe and not model:
        raise typer.BadParameter("needs a model", param_hint="--probe")
    with connected(address) as client:
        if model:
            found = client.check_health(model) if probe else client.get_health(model)
            state, why = found.state, found.reason
            say(to_json(to_plain(found)) if output is Output.JSON else show.health_text(found))
        else:
            plane = client.get_daemon_health()
            state, why = plane.state, "; ".join(plane.reasons)
            entries = [("daemon", plane.daemon_version), ("health", show.health_word(state)), ("why", why)]
            say(to_json(to_plain(plane)) if output is Output.JSON else pairs(entries))
    if state != types_pb2.HEALTH_STATE_SERVING:
        raise CommandError(
            f"{model or 'the control plane'} is {show.health_word(state)}{f': {why}' if why else ''}",
            "see `echoplane status`",
        )


def explain(
    name: Annotated[str, typer.Argument(help="A model, version, rollout or operation.", metavar="NAME")],
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Write a picture (PNG) of how its behaviour was judged.")
    ] = None,
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Say why something is as it is.

    Lists the decisions about it with their evidence, the latest first.
    """
    full = version_name(name) if is_version(name) else name
    with connected(address) as client:
        found = client.explain(full)
    if plot is not None:
        _write_picture(found, plot)
    if output is Output.JSON:
        say(to_json(to_plain(found)))
        return
    say(escape(f"{found.name}: {found.summary}"))
    if found.HasField("behaviour"):
        say("\n".join(map(escape, _behaviour(found.behaviour))))
    for decision in found.decisions:
        say(escape(f"{time_text(decision.time, _MOMENT)}  {decision.kind}: {decision.text}"))
        for line in _evidence(decision):
            say(escape(f"    {line}"))
    for refusal in found.refusals:
        weight = "counts against the newest routes" if refusal.counted else "recorded only"
        times = f", {refusal.count} times" if refusal.count > 1 else ""
        said = f"{refusal.node} refused {', '.join(refusal.resources)}: {refusal.message}"
        say(escape(f"{time_text(refusal.time, _MOMENT)}  refusal ({weight}{times}): {said}"))


def _write_picture(found: diagnostics.ExplainResponse, path: Path) -> None:
    if not found.HasField("behaviour"):
        raise CommandError(f"no behaviour of {found.name} was measured: there is nothing to draw", "name a rollout")
    try:
        path.write_bytes(picture.png(found.behaviour, _PICTURE_ALPHA))
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}", "name another file") from error


def _behaviour(report: BehaviourReport) -> list[str]:
    """Return what was measured of a change of behaviour, a line each."""
    lines = []
    if report.measure:
        size = f"{report.mean:.3g} between {report.lower:.3g} and {report.upper:.3g}, margin {report.margin:.3g}"
        lines.append(f"behaviour by {report.measure}: {size} ({report.margin_source}); {report.text_count} texts")
        lines.append(f"    texts  {picture.sparkline(report.text_distances)}")
    lines += [f"    {moved.distance:.3g}  {moved.text}" for moved in report.moved]
    if report.live_pair_count:
        told = ", ".join(f"{one.name} {one.log_e_value:.2g}" for one in report.listeners)
        lines.append(f"behaviour in {report.live_pair_count} live pairs: ln e {report.live_log_e_value:.2g} ({told})")
        lines.append(f"    ln e   {picture.sparkline(report.log_e_path)}")
    if report.described_pair_count:
        said = ", ".join(f"{one.name} {one.mmd_squared:.2g} (p {one.mmd_p_value:.2g})" for one in report.listeners)
        lines.append(f"    MMD^2 of the newest {report.described_pair_count} pairs, which does not decide: {said}")
    return [*lines, *(f"    {line}" for line in report.health)]


def _evidence(decision: diagnostics.Decision) -> list[str]:
    lines = list(decision.evidence)
    if decision.HasField("verdict"):
        verdict = decision.verdict
        lines.append(f"{verdict.gate}: {verdict_word(verdict)}, {verdict.reason} ({counts_text(verdict)})")
    if decision.HasField("plan"):
        lines += [line.strip() for line in plan_lines(decision.plan)]
    return lines


def events(
    model: Annotated[str, typer.Option("--model", help="Only this model's; left out: all.")] = "",
    resume: Annotated[
        str, typer.Option("--resume", help="Go on after the event with this token; left out: from now on.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=0, help="End after this many; 0: never.")] = 0,
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Print events as they happen."""
    with connected(address) as client:
        for count, event in enumerate(client.watch_events(model, resume_token=resume), start=1):
            if output is Output.JSON:
                say(to_json_line(event))
            else:
                say(escape(f"{time_text(event.time, '%H:%M:%S')}  {event.kind}  {event.subject}  {event.text}"))
            if count == limit:
                return


def status(address: Address = DEFAULT_ADDRESS, output: Format = DEFAULT_OUTPUT) -> None:
    """Show how the control plane stands."""
    with connected(address) as client:
        found = client.get_status()
    say(to_json(to_plain(found)) if output is Output.JSON else _status_text(found))


def _gateway_text(gateway: diagnostics.GatewayStatus) -> str:
    state = enum_word(diagnostics.GatewayState, gateway.state) or "UNSPECIFIED"
    if not gateway.listen_address:
        return state
    restarts = f", started again {gateway.restart_count} times" if gateway.restart_count else ""
    failure = f"; it ended last with: {gateway.last_failure}" if gateway.last_failure else ""
    tls = ""
    if gateway.HasField("certificate_expire_time"):
        until = time_text(gateway.certificate_expire_time, "%Y-%m-%d %H:%M UTC")
        tls = f", TLS with a certificate until {until}"
    return f"{state} at {gateway.listen_address}, process {gateway.pid}{tls}{restarts}{failure}"


def _engines_text(found: diagnostics.GetStatusResponse) -> str:
    """Return the kinds that there are; where there is none, what to do."""
    there = [engine.kind for engine in found.engines if engine.configured]
    if there or not found.engines:
        return ", ".join(there)
    return "none; " + "; ".join(f"{engine.kind}: {engine.problem}" for engine in found.engines)


def _status_text(found: diagnostics.GetStatusResponse) -> str:
    xds = found.xds
    head = pairs(
        [
            ("daemon", found.daemon_version),
            ("up", f"{found.uptime.seconds} s"),
            ("store", "writable" if found.store_writable else "cannot be written: changes are refused"),
            ("xds", f"{xds.stream_count} streams, {xds.push_count} pushes, {xds.nack_count} refused"),
            ("gateway", _gateway_text(found.gateway)),
            ("engines", _engines_text(found)),
            ("operations", ", ".join(found.open_operations)),
        ]
    )
    parts = [head]
    if found.devices:
        rows = [
            (
                d.device_id,
                size(d.capacity_bytes),
                size(d.reserved_bytes),
                size(d.foreign_bytes) if d.foreign_bytes else "",
                size(d.available_bytes if d.foreign_bytes else d.free_bytes),
            )
            for d in found.devices
        ]
        parts.append(table(("device", "capacity", "reserved", "foreign", "free"), rows))
    if found.models:
        models = [
            (
                short(m.name),
                short(m.serving_version),
                show.health_word(m.health),
                str(m.version_count),
                str(m.ready_instance_count),
                short(m.rollout),
            )
            for m in found.models
        ]
        parts.append(table(("model", "serving", "health", "versions", "ready", "rollout"), models))
    if found.active_rollouts:
        rollouts = [
            (r.name, enum_word(RolloutPhase, r.phase), f"{r.stage}/{r.stage_count}", r.held_reason)
            for r in found.active_rollouts
        ]
        parts.append(table(("rollout", "phase", "stage", "held"), rollouts))
    parts += [escape(f"alarm: {alarm}") for alarm in found.alarms]
    return "\n\n".join(parts)
