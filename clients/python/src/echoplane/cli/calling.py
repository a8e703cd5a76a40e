"""`echoplane infer` and `echoplane bootstrap`."""

from __future__ import annotations

import json
import os
import shlex
from typing import Annotated

import typer

from echoplane.channels import BOOTSTRAP_VARIABLE, EXCEPTIONS_VARIABLE, bootstrap, proxy_exceptions
from echoplane.cli.escaping import escape
from echoplane.cli.session import DEFAULT_ADDRESS, DEFAULT_OUTPUT, Address, CommandError, Format, Output, say
from echoplane.cli.text import table, to_json
from echoplane.cli.values import settings
from echoplane.inferring import InferenceClient
from echoplane.tensors import Answer, Parameter, Query, Tensor, build_request

_SHOWN = 60


def infer(
    model: Annotated[str, typer.Argument(help="MODEL, or MODEL/VERSION for that version alone.", metavar="MODEL")],
    text: Annotated[list[str] | None, typer.Argument(help="Texts, one request for all.", metavar="[TEXT]...")] = None,
    *,
    token_ids: Annotated[
        list[str] | None, typer.Option("--token-ids", help="Token ids 1,2,3 instead of text, may be repeated.")
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", help="NAME=VALUE of the request, may be repeated.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", help="Dial this HOST:PORT instead of xds:///.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.001, help="Longest wait in seconds.")] = 30.0,
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Call a model once, as its clients do."""
    query = _query(model, text or [], token_ids or [], settings(parameter or (), "--parameter"))
    with InferenceClient(model, control=address, target=target, timeout_s=timeout) as client:
        try:
            answer = client.infer(query)
        except ValueError as error:
            raise CommandError(f"the answer cannot be read: {error}") from error
    say(to_json(_plain(answer)) if output is Output.JSON else _table(answer))


def _query(model: str, texts: list[str], token_ids: list[str], parameters: dict[str, str]) -> Query:
    values: dict[str, Parameter] = {name: _parameter(value) for name, value in parameters.items()}
    try:
        ids = [[int(part) for part in entry.split(",")] for entry in token_ids]
        query = Query(texts=texts, token_ids=ids, parameters=values)
        build_request(model, query)  # what cannot be sent is refused here: a ValueError of the call is of its answer
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="MODEL/TEXT/--token-ids/--parameter") from error
    return query


def _parameter(text: str) -> Parameter:
    """Return a number or a truth value where the text is one in JSON, else the text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # the latter of lists within lists, of which none is a value
        return text
    return value if isinstance(value, bool | int | float) else text


def _plain(answer: Answer) -> dict[str, object]:
    outputs = {
        name: {"datatype": tensor.datatype, "shape": list(tensor.shape), "values": tensor.values}
        for name, tensor in answer.outputs.items()
    }
    return {"model": answer.model, "version": answer.version, "outputs": outputs}


def _table(answer: Answer) -> str:
    rows = [
        (tensor.name, tensor.datatype, str(list(tensor.shape)), _values(tensor)) for tensor in answer.outputs.values()
    ]
    return f"answered by {escape(answer.version)}\n{table(('output', 'datatype', 'shape', 'values'), rows)}"


def _values(tensor: Tensor) -> str:
    text = json.dumps(tensor.values, ensure_ascii=False, default=repr)
    return text if tensor.datatype == "BYTES" or len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def print_bootstrap(
    *,
    node: Annotated[
        str | None, typer.Option("--node", help="Id of the process in the daemon's lists; left out: a fresh one.")
    ] = None,
    export: Annotated[
        bool,
        typer.Option(
            "--export",
            help="Print shell lines that set it, and keep a proxy away from it.",
        ),
    ] = False,  # a flag
    address: Address = DEFAULT_ADDRESS,
    output: Format = DEFAULT_OUTPUT,
) -> None:
    """Print the xDS bootstrap that lets a gRPC client dial xds:///models/MODEL."""
    found = bootstrap(address, node)
    if export:
        say(f"export {BOOTSTRAP_VARIABLE}={shlex.quote(json.dumps(found))}")
        exceptions = proxy_exceptions(os.environ, address)
        if exceptions is not None:
            say(f"export {EXCEPTIONS_VARIABLE}={shlex.quote(exceptions)}")
    else:
        say(json.dumps(found) if output is Output.JSON else to_json(found))
