"""The options of `plan` that no other command has."""

from __future__ import annotations

from typing import Annotated

import typer

Sources = Annotated[
    list[str],
    typer.Argument(
        help="Checkpoint directories, GGUF files or config.json files; paths or file: URIs.", metavar="SOURCE..."
    ),
]
UpdateOf = Annotated[
    str, typer.Option("--update-of", help="Plan it beside this model's serving version; asks the daemon.")
]
Engine = Annotated[
    str, typer.Option("--engine", help="Engine kind; left out: torch. Here also vllm, aphrodite, sglang, llama_cpp.")
]
EngineOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--engine-option",
        help="NAME=VALUE, may be repeated. Here: weights (NF4, FP8, Q4_K ...), kv_dtype, tensor_parallel, "
        "pipeline_parallel, block_size, max_batched_tokens, lora_adapters, lora_rank.",
    ),
]
OnDevice = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="CARD:COUNT",
        help="Plan for devices that are not here, empty: a known card (h100-80g:8) or a size (80GiB:8).",
    ),
]
Fit = Annotated[
    bool,
    typer.Option("--fit", help="Say how many replicas the devices hold, split in every way, and at which context."),
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Show every component's numbers and where its formula comes from.")
]
AskDaemon = Annotated[bool, typer.Option("--daemon", help="Ask the daemon, even where a plan can be made here.")]
