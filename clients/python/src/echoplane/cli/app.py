"""All commands under one name."""

from __future__ import annotations

import typer

from echoplane.cli import calling, insight, keys, models, planning, rollouts, usage
from echoplane.cli.session import Commands

app = typer.Typer(
    name="echoplane",
    cls=Commands,
    help="Load models, roll versions out under live traffic, and see why things are as they are.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("load")(models.load)
app.command("update")(models.update)
app.command("ls")(models.ls)
app.command("get")(models.get)
app.command("rm")(models.rm)
app.add_typer(rollouts.app, name="rollout")
app.add_typer(keys.app, name="key")
app.command("plan")(planning.plan)
app.command("devices")(planning.devices)
app.command("health")(insight.health)
app.command("infer")(calling.infer)
app.command("explain")(insight.explain)
app.command("events")(insight.events)
app.command("status")(insight.status)
app.command("usage")(usage.usage)
app.command("bootstrap")(calling.print_bootstrap)
