"""A rollout as it goes on: a live view on a terminal, lines in a pipe.

In a pipe there is a line for each change.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from echoplane.cli.escaping import escape
from echoplane.cli.progress import wait_shown
from echoplane.cli.session import note, say
from echoplane.cli.telling import enum_word, time_text
from echoplane.cli.text import pairs, percent, table
from echoplane.client import Client
from echoplane.errors import DeadlineError, EchoplaneError
from echoplane.googleapis import operations_pb2
from echoplane.names import short
from echoplane.operations import Completed, not_in_time, read_metadata
from echoplane.v1 import rollouts_pb2
from echoplane.v1.rollouts_pb2 import Rollout, RolloutOutcome, RolloutPhase, Verdict

_LOOK_S = 1.0
_COLOURS = {Verdict.OUTCOME_PASS: "green", Verdict.OUTCOME_HOLD: "yellow", Verdict.OUTCOME_FAIL: "red"}


def phase_word(rollout: Rollout) -> str:
    """Return where a rollout is: its phase, or how it ended."""
    if rollout.outcome:
        return enum_word(RolloutOutcome, rollout.outcome)
    return enum_word(RolloutPhase, rollout.phase) or "accepted"


def verdict_word(verdict: Verdict) -> str:
    """Return PASS, HOLD or FAIL."""
    return enum_word(Verdict.Outcome, verdict.verdict) or "none yet"


def evidence_word(verdict: Verdict) -> str:
    """Return LIVE or PROBES."""
    return enum_word(Verdict.Evidence, verdict.evidence)


def counts_text(verdict: Verdict) -> str:
    """Return the numbers behind a verdict on one line."""
    counts = verdict.counts
    parts = []
    if counts.old_request_count or counts.new_request_count:
        old = f"old {counts.old_server_error_count}/{counts.old_request_count}"
        parts.append(f"{old}, new {counts.new_server_error_count}/{counts.new_request_count} failed")
    if counts.probe_count:
        parts.append(f"probes {counts.probe_failure_count}/{counts.probe_count} failed")
    if counts.scored_text_count or counts.live_pair_count:
        parts.append(f"{counts.scored_text_count} texts scored, {counts.live_pair_count} live pairs")
    return "; ".join(parts)


def weights_text(rollout: Rollout) -> str:
    """Return wanted and acknowledged weights on one line."""
    acknowledged = {entry.version: entry.weight_ppm for entry in rollout.acknowledged}
    return ", ".join(
        f"{short(entry.version)} {percent(entry.weight_ppm)} (acknowledged {percent(acknowledged.get(entry.version, 0))})"
        for entry in rollout.desired
    )


def line(rollout: Rollout) -> str:
    """Return a rollout on one line, for pipes and logs."""
    stages = len(rollout.policy.stages_percent)
    parts = [phase_word(rollout), f"stage {rollout.stage}/{stages}" if stages else f"stage {rollout.stage}"]
    if rollout.desired:
        parts.append(weights_text(rollout))
    if rollout.held_reason:
        parts.append(f"held: {rollout.held_reason}")
    parts += [
        " ".join(
            filter(
                None,
                (
                    f"{verdict.gate}={verdict_word(verdict)}",
                    evidence_word(verdict),
                    counts_text(verdict),
                    verdict.reason,
                ),
            )
        )
        for verdict in rollout.verdicts
    ]
    if rollout.outcome_reason:
        parts.append(rollout.outcome_reason)
    return escape(" | ".join(parts))


def rollout_text(rollout: object) -> str:
    """Return a rollout with its verdicts and history."""
    if not isinstance(rollout, Rollout):
        raise TypeError(f"{type(rollout).__name__} is no rollout")
    head = pairs(
        [
            ("name", rollout.name),
            ("from", short(rollout.from_version)),
            ("to", short(rollout.to_version)),
            ("phase", phase_word(rollout)),
            ("why", rollout.outcome_reason),
            ("held", rollout.held_reason),
            ("stage", f"{rollout.stage} of {', '.join(map(str, rollout.policy.stages_percent))} %"),
            ("weights", weights_text(rollout)),
            ("subscribers", f"{rollout.acknowledged_count} of {rollout.subscriber_count} have the weights"),
            ("stale", _stale_text(rollout)),
        ]
    )
    verdicts = [(v.gate, verdict_word(v), evidence_word(v), counts_text(v), v.reason) for v in rollout.verdicts]
    history = [
        (time_text(entry.time, "%H:%M:%S"), str(entry.stage), entry.kind, entry.text) for entry in rollout.history
    ]
    parts = [head]
    if verdicts:
        parts.append(table(("gate", "verdict", "evidence", "counts", "reason"), verdicts))
    if history:
        parts.append(table(("time", "stage", "event", "text"), history))
    return "\n\n".join(parts)


def _stale_text(rollout: Rollout) -> str:
    """Name the silent subscribers, and count those that are not named."""
    more = rollout.stale_subscriber_count - len(rollout.stale_subscribers)
    return ", ".join(rollout.stale_subscribers) + (f" and {more} more" if more > 0 else "")


def picture(rollout: Rollout) -> Group:
    """Return a rollout as a picture for a terminal: stages, weights, verdicts, counts."""
    head = Text.assemble(
        (escape(short(rollout.to_version)), "bold"),
        f" over {escape(short(rollout.from_version))}   ",
        (phase_word(rollout), "bold"),
        (f"   held: {escape(rollout.held_reason)}" if rollout.held_reason else "", "yellow"),
    )
    parts: list[Text | Table] = [head, _stages(rollout), _weights(rollout)]
    if rollout.verdicts:
        parts.append(_verdicts(rollout))
    if rollout.stale_subscribers:
        parts.append(Text(escape(f"silent subscribers: {_stale_text(rollout)}"), style="yellow"))
    if rollout.outcome_reason:
        parts.append(Text(escape(rollout.outcome_reason)))
    return Group(*parts)


def _stages(rollout: Rollout) -> Text:
    text = Text()
    succeeded = rollout.outcome == rollouts_pb2.ROLLOUT_OUTCOME_SUCCEEDED
    for number, share in enumerate(rollout.policy.stages_percent, start=1):
        if number < rollout.stage or succeeded:
            text.append(f" ✓ {share} % ", "green")
        elif number == rollout.stage:
            text.append(f" ● {share} % ", "bold reverse")
        else:
            text.append(f" · {share} % ", "dim")
    return text


def _weights(rollout: Rollout) -> Table:
    acknowledged = {entry.version: entry.weight_ppm for entry in rollout.acknowledged}
    grid = Table.grid(padding=(0, 2))
    for entry in rollout.desired:
        bar = "█" * round(entry.weight_ppm * 40 / 1_000_000)
        had = percent(acknowledged.get(entry.version, 0))
        grid.add_row(
            Text(escape(short(entry.version))),
            Text(percent(entry.weight_ppm)),
            Text(bar, "cyan"),
            Text(f"acknowledged {had}", "dim"),
        )
    grid.add_row(Text("subscribers"), Text(f"{rollout.acknowledged_count}/{rollout.subscriber_count}"), Text(), Text())
    return grid


def _verdicts(rollout: Rollout) -> Table:
    grid = Table("gate", "verdict", "evidence", "counts", "reason", box=None, pad_edge=False, header_style="dim")
    for verdict in rollout.verdicts:
        cells = (evidence_word(verdict), counts_text(verdict), verdict.reason)
        grid.add_row(
            Text(escape(verdict.gate)),
            Text(verdict_word(verdict), _COLOURS.get(verdict.verdict, "")),
            *(Text(escape(cell)) for cell in cells),
        )
    return grid


def follow(states: Iterator[Rollout], *, to_stderr: bool) -> Rollout | None:
    """Show a rollout until its outcome is known and return its last state.

    None: nothing came.
    """
    stream, tell = (sys.stderr, note) if to_stderr else (sys.stdout, say)
    last: Rollout | None = None
    if stream.isatty():
        with Live(console=Console(stderr=to_stderr), auto_refresh=False) as live:
            for last in states:
                live.update(picture(last), refresh=True)
        return last
    shown = ""
    for last in states:
        text = line(last)
        if text != shown:
            shown = text
            tell(text)
    return last


def follow_update(client: Client, operation: operations_pb2.Operation, timeout_s: float | None) -> Completed:
    """Show an update's rollout on stderr, and wait for the operation.

    Raises:
        RolledBackError: the update was rolled back.
        EchoplaneError: it ended with another error, or not in time.
    """
    ends_s = _ends_s(timeout_s)
    rollout = read_metadata(operation).rollout
    if rollout and not operation.done:
        _watch(client, rollout, timeout_s, accepted=operation.name)
    return wait_shown(client, operation, _left_s(ends_s))


def follow_abort(client: Client, rollout: Rollout, timeout_s: float | None) -> Rollout:
    """Show a rollout on stderr that was aborted, until its outcome is known.

    Where it cannot be watched, it is looked at now and then.

    Raises:
        EchoplaneError: its outcome is not known in time, or it cannot be looked at.
    """
    ends_s = _ends_s(timeout_s)
    last = _watch(client, rollout.name, timeout_s, accepted=rollout.name)
    while last is None or not last.outcome:
        left_s = _left_s(ends_s)
        if timeout_s is not None and not left_s:
            raise not_in_time(rollout.name, timeout_s)
        last = client.get_rollout(rollout.name, left_s)
        if not last.outcome:
            time.sleep(_LOOK_S if left_s is None else min(_LOOK_S, left_s))
    return last


def _watch(client: Client, name: str, timeout_s: float | None, *, accepted: str) -> Rollout | None:
    """Show a rollout on stderr and return its last state.

    None: it cannot be watched, as with too many watchers. What was accepted goes on, and is not to look refused.

    Raises:
        DeadlineError: the time is over.
    """
    try:
        return follow(client.watch_rollout(name, timeout_s), to_stderr=True)
    except EchoplaneError as error:
        if isinstance(error, DeadlineError) and timeout_s is not None:
            raise not_in_time(accepted, timeout_s) from error
        note(f"{accepted} goes on, though it cannot be watched: {error}")
        return None


def _ends_s(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _left_s(ends_s: float | None) -> float | None:
    """Return the seconds until then, in tenths as people are told of them."""
    return None if ends_s is None else max(round(ends_s - time.monotonic(), 1), 0.0)
