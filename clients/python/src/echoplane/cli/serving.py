"""The options that say how a version is to be served.

They are those of `load` and `update`, and of `plan`, which only works them out.
"""

from __future__ import annotations

from typing import Annotated

import typer

from echoplane.cli.values import DtypeName

Dtype = Annotated[DtypeName | None, typer.Option("--dtype", help="Weight dtype; left out: as stored.")]
Context = Annotated[int, typer.Option("--context-length", min=0, help="Tokens; 0: as many as fit.")]
Concurrency = Annotated[
    int, typer.Option("--max-concurrency", min=0, help="Sequences at once; 0: the engine's default.")
]
Replicas = Annotated[int, typer.Option("--replicas", min=0, help="Instances; 0: one.")]
