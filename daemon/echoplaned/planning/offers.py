"""Whether a plan's engine would serve the checkpoint, and if not, why."""

from __future__ import annotations

from pathlib import Path

from echoplaned.core.errors import SourceUnsupportedError
from echoplaned.core.facts import Task
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.engine_kinds import EngineKind, find_sized
from echoplaned.engine_kinds.llama_cpp import KIND as GGUF_KIND
from echoplaned.engine_kinds.vllm import KIND as WIDEST_KIND
from echoplaned.planning.inspection import Checkpoint, architectures, find_refusal


def find_offer(source: Path | Checkpoint, checkpoint: Checkpoint, engine: str) -> FailureDetail | None:
    """Return why an engine would not serve a checkpoint; None where it would.

    An engine of ours is asked by what a load of it would do; another, by the formats that its declaration names.
    """
    kind = find_sized(engine)
    if kind is not None and kind.foreign is not None:
        return _of_format(checkpoint, kind)
    if isinstance(source, Checkpoint):
        return source.refusal
    return _with_hint(find_refusal(source, checkpoint), checkpoint)


def serving_fields(plan_refusal: FailureDetail | None) -> tuple[bool, str, str]:
    """Return a plan's three fields that say whether it is served.

    They are whether, the stable reason, and what is wrong; the last two are empty where it is.
    """
    if plan_refusal is None:
        return True, "", ""
    return False, plan_refusal.reason.value, plan_refusal.message


def _with_hint(failure: FailureDetail | None, checkpoint: Checkpoint) -> FailureDetail | None:
    """Name the engine that would serve what this one does not."""
    if failure is None:
        return None
    foreign = bool(checkpoint.native.method) or "auto_map" in failure.message
    unfit = (foreign and failure.reason is Reason.SOURCE_UNSUPPORTED) or failure.reason in {
        Reason.ARCHITECTURE_UNSUPPORTED,
        Reason.DTYPE_UNSUPPORTED,
    }
    if not unfit or _of_format(checkpoint, WIDEST_KIND) is not None:
        return failure
    return FailureDetail(
        failure.reason, f"{failure.message} (`--engine {WIDEST_KIND.name}` serves it)", failure.violations
    )


def _of_format(checkpoint: Checkpoint, kind: EngineKind) -> FailureDetail | None:
    """Return why a foreign engine does not read the files; None where it does."""
    engine = kind.sized_as or kind.name
    is_gguf = any(name.endswith(".gguf") for name in checkpoint.files)
    method = checkpoint.native.method
    # Code that is asked for and not run: engines have classes of their own for what the catalogue knows, as transformers has.
    if checkpoint.native.asks_for_code and checkpoint.facts.architecture not in architectures():
        return _refused("config.json: auto_map", "it asks for the repository's own Python code, which is never run")
    if is_gguf:
        other = f"{engine} is not offered with GGUF files here (`--engine {GGUF_KIND.name}` reads them)"
        return None if "gguf" in kind.formats else _refused("GGUF", other)
    if "safetensors" not in kind.formats:
        return _refused("config.json", f"{engine} reads GGUF: convert the checkpoint")
    if method and method not in kind.packed:
        return _refused("config.json: quantization_config", f"{engine} does not read weights packed by {method}")
    if checkpoint.facts.task is not Task.GENERATION and checkpoint.facts.architecture not in architectures():
        return _refused(
            "config.json: architectures", f"nothing is known of {checkpoint.facts.architecture} on {engine}"
        )
    return None


def _refused(field: str, detail: str) -> FailureDetail:
    return SourceUnsupportedError(f"{field}: {detail}", subject=field).failure
