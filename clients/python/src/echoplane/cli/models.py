"""`echoplane load`, `update`, `ls`, `get` and `rm`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.message import Message

from echoplane.cli import show
from echoplane.cli.escaping import escape, escape_lines
from echoplane.cli.follow import follow_update, rollout_text
from echoplane.cli.hub_name import HubName, read_hub_name
from echoplane.cli.plan_text import plan_text
from echoplane.cli.progress import describe, wait_shown
from echoplane.cli.serving import Concurrency, Context, Dtype, Replicas
from echoplane.cli.session import (
    DEFAULT_ADDRESS,
    DEFAULT_OUTPUT,
    Address,
    CommandError,
    Format,
    Output,
    Timeout,
    connected,
    note,
    say,
)
from echoplane.cli.text import to_json, to_plain
from echoplane.cli.values import (
    BehaviourName,
    TierName,
    behaviour_of,
    dtype_of,
    policy_of,
    settings,
    source_uri,
    tier_of,
)
from echoplane.client import Client
from echoplane.errors import EchoplaneError
from echoplane.googleapis import operations_pb2
from echoplane.names import is_rollout, is_version
from echoplane.operations import read_metadata
from echoplane.v1 import models_pb2

Model = Annotated[str, typer.Argument(help="The model's id.", metavar="MODEL")]
Version = Annotated[str, typer.Option("--version", help="Version id; left out: a digest of content and options.")]
EngineKind = Annotated[str, typer.Option("--engine", help="Engine kind; left out: torch.")]
EngineOptions = Annotated[list[str] | None, typer.Option("--engine-option", help="NAME=VALUE, may be repeated.")]
Tier = Annotated[TierName | None, typer.Option("--tier", help="Where it is kept; left out: hot.")]
Pinned = Annotated[bool, typer.Option("--pinned", help="Keep it from being demoted under memory pressure.")]
Labels = Annotated[list[str] | None, typer.Option("--label", help="NAME=VALUE, may be repeated.")]
RequestId = Annotated[str, typer.Option("--request-id", help="The same id makes the same call once.")]
ValidateOnly = Annotated[bool, typer.Option("--validate-only", help="Check and plan only; nothing changes.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return once it is accepted.")]


def load(
    model: Annotated[
        str,
        typer.Argument(
            help="The model's id; alone: the checkpoint's name (ORG/NAME beneath a root, or in a hub's cache), or its path.",
            metavar="MODEL",
        ),
    ],
    source: Annotated[str, typer.Argument(help="Checkpoint: a path or a file: URI.", metavar="[SOURCE]")] = "",
    *,
    version: Version = "",
    engine: EngineKind = "",
    engine_option: EngineOptions = None,
    dtype: Dtype = None,
    context_length: Context = 0,
    max_concurrency: Concurrency = 0,
    replicas: Replicas = 0,
    tier: Tier = None,
    pinned: Pinned = False,
    label: Labels = None,
    alias: Annotated[
        list[str] | None, typer.Option("--alias", help="Another name for OpenAI requests, may be repeated.")
    ] = None,
    request_id: RequestId = "",
    validate_only: ValidateOnly = False,
    no_wait: NoWait = False,
    timeout: Timeout = None,
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Load a version of a model; the first one gets the traffic.

    Ends with 0 once it is ready.
    """
    named = HubName(model, (source_uri(source),), ()) if source else read_hub_name(model)
    if not source:
        note(f"model id: {named.model_id}")
    request = models_pb2.LoadModelRequest(
        model_id=named.model_id,
        version_id=version,
        source_uri=named.source_uris[0],
        engine=engine,
        engine_options=settings(engine_option or (), "--engine-option"),
        dtype=dtype_of(dtype),
        context_length=context_length,
        max_concurrency=max_concurrency,
        replicas=replicas,
        tier=tier_of(tier),
        pinned=pinned,
        labels=settings(label or (), "--label"),
        aliases=dict.fromkeys((*named.aliases, *(alias or ()))),
        request_id=request_id,
        validate_only=validate_only,
    )
    with connected(address) as client:
        operation = _load_first_found(client, request, named.source_uris)
        if validate_only:
            _print_plan(operation, output)
        elif no_wait:
            _print_accepted(operation, output)
        else:
            completed = wait_shown(client, operation, timeout)
            if completed.metadata.cache_hit:
                note("it was ready already: nothing was loaded")
            _print(completed.response, output)


def _load_first_found(
    client: Client, request: models_pb2.LoadModelRequest, source_uris: tuple[str, ...]
) -> operations_pb2.Operation:
    """Load from the first of several places that is there.

    Where none is, the error of the first one is raised. A request id that was used is of the place that was there then, which may be a
    later one: if it is of none of them, that is the error.
    """
    missing: EchoplaneError | None = None
    reused: EchoplaneError | None = None
    for uri in source_uris:
        request.source_uri = uri
        try:
            return client.load_model(request)
        except EchoplaneError as error:
            if error.reason == "REQUEST_ID_REUSED":
                reused = reused or error
            elif error.reason == "SOURCE_NOT_FOUND":
                missing = missing or error
            else:
                raise
    raise reused or missing or CommandError("no place to load from was given", "say SOURCE")


def update(
    model: Model,
    source: Annotated[
        str, typer.Argument(help="Checkpoint; left out: the version that --version names.", metavar="[SOURCE]")
    ] = "",
    *,
    version: Version = "",
    engine: EngineKind = "",
    engine_option: EngineOptions = None,
    dtype: Dtype = None,
    context_length: Context = 0,
    max_concurrency: Concurrency = 0,
    replicas: Replicas = 0,
    pinned: Pinned = False,
    label: Labels = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="JSON file with fields of the rollout policy.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of the policy, e.g. stage_min_s=2, may be repeated.")
    ] = None,
    behaviour_change: Annotated[
        BehaviourName | None, typer.Option("--behaviour-change", help="What you say of its answers.")
    ] = None,
    etag: Annotated[str, typer.Option("--etag", help="Refuse where the model has changed since.")] = "",
    request_id: RequestId = "",
    validate_only: ValidateOnly = False,
    no_wait: NoWait = False,
    timeout: Timeout = None,
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Roll a version out in stages under live traffic.

    Ends with 0 once it serves, not where it was rolled back.
    """
    request = models_pb2.UpdateModelRequest(
        model_id=model,
        version_id=version,
        source_uri=source_uri(source),
        engine=engine,
        engine_options=settings(engine_option or (), "--engine-option"),
        dtype=dtype_of(dtype),
        context_length=context_length,
        max_concurrency=max_concurrency,
        replicas=replicas,
        pinned=pinned,
        labels=settings(label or (), "--label"),
        policy=policy_of(policy, set_ or ()),
        behaviour_change=behaviour_of(behaviour_change),
        etag=etag,
        request_id=request_id,
        validate_only=validate_only,
    )
    with connected(address) as client:
        operation = client.update_model(request)
        if validate_only:
            _print_plan(operation, output)
        elif no_wait:
            _print_accepted(operation, output)
        else:
            _print(follow_update(client, operation, timeout).response, output)


def ls(
    model: Annotated[
        str, typer.Argument(help="List this model's versions; left out: list the models.", metavar="[MODEL]")
    ] = "",
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """List the models, or the versions of one."""
    with connected(address) as client:
        if model:
            versions = list(client.list_versions(model))
            say(
                to_json([to_plain(entry) for entry in versions])
                if output is Output.JSON
                else show.versions_table(versions)
            )
        else:
            found = list(client.list_models())
            say(to_json([to_plain(entry) for entry in found]) if output is Output.JSON else show.models_table(found))


def get(
    name: Annotated[str, typer.Argument(help="MODEL, MODEL/VERSION, or any full resource name.", metavar="NAME")],
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Show a model, a version, a rollout or an operation."""
    with connected(address) as client:
        if name.startswith("operations/"):
            _print_operation(client.get_operation(name), output)
        elif is_rollout(name):
            _print(client.get_rollout(name), output)
        elif is_version(name):
            _print(client.get_version(name), output)
        else:
            _print(client.get_model(name), output)


def rm(
    name: Annotated[str, typer.Argument(help="MODEL, or MODEL/VERSION.", metavar="NAME")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Delete the model though a rollout is under way.")] = False,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Succeed where there is none.")] = False,
    no_wait: NoWait = False,
    timeout: Timeout = None,
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Drain and delete a model, or one version that has no traffic."""
    if force and is_version(name):
        raise typer.BadParameter(
            "a version with traffic is not deleted, by force neither: update the model first", param_hint="--force"
        )
    with connected(address) as client:
        if is_version(name):
            operation = client.delete_version(name, allow_missing=allow_missing)
        else:
            operation = client.delete_model(name, force=force, allow_missing=allow_missing)
        if no_wait:
            _print_accepted(operation, output)
            return
        completed = wait_shown(client, operation, timeout)
        say(to_json(to_plain(completed.metadata)) if output is Output.JSON else f"deleted {name}")


def _print(message: Message | None, output: Output) -> None:
    """Print a resource."""
    if message is None:
        return
    if output is Output.JSON:
        say(to_json(to_plain(message)))
    elif isinstance(message, models_pb2.ModelVersion):
        say(show.version_text(message))
    elif isinstance(message, models_pb2.Model):
        say(show.model_text(message))
    else:
        say(rollout_text(message))


def _print_accepted(operation: operations_pb2.Operation, output: Output) -> None:
    """Print what was started."""
    metadata = read_metadata(operation)
    if output is Output.JSON:
        say(to_json({"name": operation.name, "done": operation.done, "metadata": to_plain(metadata)}))
    else:
        say(operation.name)


def _print_operation(operation: operations_pb2.Operation, output: Output) -> None:
    """Print an operation as it is."""
    metadata = read_metadata(operation)
    if output is Output.JSON:
        error = to_plain(operation.error) if operation.HasField("error") else None
        say(to_json({"name": operation.name, "done": operation.done, "error": error, "metadata": to_plain(metadata)}))
        return
    say(escape(f"{operation.name}: {describe(metadata)}"))
    if operation.HasField("error"):
        say(f"ended with an error: {escape_lines(operation.error.message, '  ')}")


def _print_plan(operation: operations_pb2.Operation, output: Output) -> None:
    """Print the plan of a validation.

    Raises:
        CommandError: the plan does not fit.
    """
    plan = read_metadata(operation).plan
    say(to_json(to_plain(plan)) if output is Output.JSON else plan_text(plan))
    if not plan.fits:
        raise CommandError("it does not fit", "take one of the alternatives, or free memory (`echoplane devices`)")
