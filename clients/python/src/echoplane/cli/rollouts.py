"""`echoplane rollout ls|watch|pause|resume|abort|promote`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from echoplane.cli.follow import follow, follow_abort, line, phase_word, rollout_text
from echoplane.cli.session import (
    DEFAULT_ADDRESS,
    DEFAULT_OUTPUT,
    Address,
    CommandError,
    Commands,
    Format,
    Output,
    Timeout,
    connected,
    note,
    say,
)
from echoplane.cli.text import table, to_json, to_json_line, to_plain
from echoplane.client import Client
from echoplane.names import is_rollout, short
from echoplane.v1 import rollouts_pb2

app = typer.Typer(
    cls=Commands,
    help="Show rollouts and control them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
Name = Annotated[
    str,
    typer.Argument(help="MODEL (its rollout under way, else its latest), or a rollout's full name.", metavar="NAME"),
]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the history.")]


def resolve(client: Client, name: str) -> str:
    """Return the full name of the rollout that is meant.

    Raises:
        CommandError: the model never had one.
        EchoplaneError: there is no such model.
    """
    if is_rollout(name):
        return name
    active = client.get_model(name).rollout
    if active:
        return active
    for latest in client.list_rollouts(name):
        return latest.name
    raise CommandError(f"{name} never had a rollout", "start one with `echoplane update`")


@app.command("ls")
def ls(
    model: Annotated[str, typer.Argument(help="The model's id.", metavar="MODEL")],
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """List a model's rollouts, the latest first."""
    with connected(address) as client:
        found = list(client.list_rollouts(model))
    if output is Output.JSON:
        say(to_json([to_plain(rollout) for rollout in found]))
        return
    rows = [
        (
            short(rollout.name),
            short(rollout.from_version),
            short(rollout.to_version),
            phase_word(rollout),
            str(rollout.stage),
            rollout.outcome_reason,
        )
        for rollout in found
    ]
    say(table(("rollout", "from", "to", "phase", "stage", "why"), rows))


@app.command("watch")
def watch(
    name: Name,
    timeout: Timeout = None,
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Follow a rollout to its end. Ends with 0 where it succeeded."""
    with connected(address) as client:
        states = client.watch_rollout(resolve(client, name), timeout)
        last = follow(_as_json(states), to_stderr=True) if output is Output.JSON else follow(states, to_stderr=False)
    if last is None or last.outcome != rollouts_pb2.ROLLOUT_OUTCOME_SUCCEEDED:
        outcome = f"{phase_word(last)}: {last.outcome_reason}" if last is not None else "nothing came"
        raise CommandError(f"the rollout did not succeed: {outcome}", "see why with `echoplane explain`")


def _as_json(states: Iterator[rollouts_pb2.Rollout]) -> Iterator[rollouts_pb2.Rollout]:
    """Print each state as one line of JSON on the way."""
    for state in states:
        say(to_json_line(state))
        yield state


@app.command("pause")
def pause(name: Name, reason: Reason = "", address: Address = DEFAULT_ADDRESS, output: Format = DEFAULT_OUTPUT) -> None:
    """Stop going forward; a failing verdict still takes the new version back."""
    with connected(address) as client:
        _print(client.pause_rollout(resolve(client, name), reason), output)


@app.command("resume")
def resume(
    name: Name, reason: Reason = "", address: Address = DEFAULT_ADDRESS, output: Format = DEFAULT_OUTPUT
) -> None:
    """Go on after a pause."""
    with connected(address) as client:
        _print(client.resume_rollout(resolve(client, name), reason), output)


@app.command("abort")
def abort(
    name: Name,
    *,
    reason: Reason = "",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return once it begins to roll back.")] = False,
    timeout: Timeout = None,
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Take the new version back. Ends with 0 once the old one serves again."""
    with connected(address) as client:
        rollout = client.abort_rollout(resolve(client, name), reason)
        if not no_wait and not rollout.outcome:
            rollout = follow_abort(client, rollout, timeout)
        _print(rollout, output)
    if not no_wait and rollout.outcome == rollouts_pb2.ROLLOUT_OUTCOME_SUCCEEDED:
        raise CommandError(
            "the rollout had succeeded before it could be aborted", "update the model to the old version"
        )


@app.command("promote")
def promote(
    name: Name,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit.")],
    stage: Annotated[int, typer.Option("--stage", min=0, help="Refuse where it is in another stage; 0: no check.")] = 0,
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Go to the next stage without a verdict; audited."""
    with connected(address) as client:
        full = resolve(client, name)
        # The stage that the caller saw, so that a promotion sent twice moves one stage.
        seen = stage or client.get_rollout(full).stage
        _print(client.promote_rollout(full, reason, stage=seen), output)


def _print(rollout: rollouts_pb2.Rollout, output: Output) -> None:
    """Print a rollout after a change."""
    if output is Output.JSON:
        say(to_json(to_plain(rollout)))
        return
    note(line(rollout))
    say(rollout_text(rollout))
