"""Public configs by name: what we make of the config alone, beside what transformers makes of it, or what was published.

python -m benchmarks.allocator.public_configs [--out FILE] [PART …]

``public_configs.json`` has the fields that decide sizes of configs that lie in public repositories, each with repository, path and commit:
these are real. Further rows are the default configs of transformers' own classes (each documents the checkpoint that it is of).
Beside ours stand the parameters of transformers' class on the meta device, the bytes that its cache keeps of eight tokens there, and
published totals of weights. ``exact``, ``differs``, ``refused`` with the reason, or ``alone``: exact of ours, and nothing to compare.
``PART``: only rows whose name holds one of these. All of them take about half an hour.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.allocator.architectures import UNBUILDABLE
from echoplaned import _allocator

_FILE: Final = Path(__file__).with_suffix(".json")
_OUT: Final = Path(__file__).parents[1] / "results" / "allocator-public-configs.json"
TOKENS: Final = 8
_QUANTISED: Final = ("quantization_config", "compression_config")
PUBLISHED_WEIGHTS: Final = {
    "openai/gpt-oss-20b": (13_761_264_768, "metadata.total_size of its index"),
    "openai/gpt-oss-120b": (65_248_815_744, "metadata.total_size of its index"),
}
"""Bytes of all tensors, as the publishers' files say."""

CLASSES: Final = (
    "AlbertModel", "ApertusForCausalLM", "ArceeForCausalLM", "BambaForCausalLM", "BartForConditionalGeneration", "BertModel",
    "BioGptForCausalLM", "BlenderbotForConditionalGeneration", "BloomForCausalLM", "CohereForCausalLM", "Cohere2ForCausalLM",
    "DistilBertModel", "ElectraModel", "Ernie4_5ForCausalLM", "Exaone4ForCausalLM", "FalconForCausalLM", "FalconMambaForCausalLM",
    "Gemma2ForCausalLM", "Gemma3ForCausalLM", "Gemma3ForConditionalGeneration", "GemmaForCausalLM", "Glm4ForCausalLM",
    "Glm4MoeForCausalLM", "GlmForCausalLM", "GPT2LMHeadModel", "GPTBigCodeForCausalLM", "GPTJForCausalLM", "GPTNeoForCausalLM",
    "GPTNeoXForCausalLM", "GraniteForCausalLM", "GraniteMoeForCausalLM", "HeliumForCausalLM", "HunYuanDenseV1ForCausalLM",
    "Idefics3ForConditionalGeneration", "JambaForCausalLM", "LlavaForConditionalGeneration", "M2M100ForConditionalGeneration",
    "Mamba2ForCausalLM", "MambaForCausalLM", "MBartForConditionalGeneration", "MiniCPM3ForCausalLM", "Mistral3ForConditionalGeneration",
    "MistralForCausalLM", "ModernBertModel", "MPNetModel", "MptForCausalLM", "MT5ForConditionalGeneration", "NemotronForCausalLM",
    "Olmo2ForCausalLM", "OlmoeForCausalLM", "OPTForCausalLM", "PaliGemmaForConditionalGeneration", "PegasusForConditionalGeneration",
    "PersimmonForCausalLM", "Phi3ForCausalLM", "PhiForCausalLM", "PhimoeForCausalLM", "Qwen2_5_VLForConditionalGeneration",
    "Qwen2MoeForCausalLM", "Qwen2VLForConditionalGeneration", "Qwen3VLForConditionalGeneration", "RobertaModel", "SeedOssForCausalLM",
    "SmolLM3ForCausalLM", "StableLmForCausalLM", "Starcoder2ForCausalLM", "T5ForConditionalGeneration", "UMT5ForConditionalGeneration",
    "VaultGemmaForCausalLM", "XGLMForCausalLM", "XLMRobertaModel",
)  # fmt: skip
"""Classes whose default configs are rows."""


@dataclass(frozen=True, slots=True)
class Public:
    """A config. ``source``: where it lies; ``is_real``: whether it is a publisher's file, and not a class's default."""

    name: str
    source: str
    config: Mapping[str, Any]
    is_real: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one config. Parameters, and bytes of weights and of the cache of eight tokens: ours and the reference's.

    A reference is None where there is none; ``reason``: why it is refused, or what differs, or why nothing could be compared.
    """

    name: str
    source: str
    is_real: bool
    architecture: str
    outcome: str
    reason: str = ""
    parameters: int | None = None
    parameters_reference: int | None = None
    weights_bytes: int | None = None
    weights_reference: int | None = None
    cache_bytes: int | None = None
    cache_reference: int | None = None


def publics() -> Iterator[Public]:
    """Yield every row's config."""
    for name, entry in json.loads(_FILE.read_text(encoding="utf-8")).items():
        where = entry["source"]
        yield Public(
            name, f"{where['repository']}@{where['commit'][:12]}:{where['path']}", entry["config"], is_real=True
        )
    import transformers  # noqa: PLC0415  # seconds to import

    for name in CLASSES:
        config_class = getattr(transformers, name).config_class
        try:
            config = json.loads(config_class().to_json_string(use_diff=False)) | {"architectures": [name]}
        except UNBUILDABLE:
            continue
        place = f"transformers {transformers.__version__}: {config_class.__module__}.{config_class.__name__}"
        yield Public(f"{config_class.__name__} (default)", place, config)


def judge(public: Public) -> Row:
    """Size a config and compare."""
    architecture = str((public.config.get("architectures") or [""])[0])
    row = Row(public.name, public.source, public.is_real, architecture, "refused")
    try:
        checkpoint = _allocator.survey_config(json.dumps(public.config).encode())
        weights, cache = _ours(checkpoint)
    except _allocator.AllocatorError as error:
        return _with(row, reason=f"{type(error).__name__}: {error}"[:240])
    parameters, kept, why = _reference(public.config, architecture)
    published = PUBLISHED_WEIGHTS.get(public.name)
    pairs = (
        (checkpoint.parameter_count, parameters),
        (weights, published[0] if published else None),
        (cache, kept),
    )
    wrong = [f"{ours} instead of {theirs}" for ours, theirs in pairs if theirs is not None and ours != theirs]
    compared = parameters is not None or published is not None
    return _with(
        row,
        outcome="differs" if wrong else "exact" if compared else "alone",
        reason="; ".join(wrong) or why,
        parameters=checkpoint.parameter_count,
        parameters_reference=parameters,
        weights_bytes=weights,
        weights_reference=published[0] if published else None,
        cache_bytes=cache,
        cache_reference=kept,
    )


def _with(row: Row, **changes: Any) -> Row:  # noqa: ANN401 - the row's own fields
    return Row(**{**asdict(row), **changes})


def _ours(checkpoint: _allocator.Checkpoint) -> tuple[int, int]:
    """Return bytes of the weights as they are stored, and of the cache of eight tokens in 16 bit as transformers keeps it."""
    request = _allocator.Request(
        engine_name="torch", dtype_name=checkpoint.stored_dtype, context_length=TOKENS, max_concurrency=1
    )
    parts = _allocator.size(checkpoint, request).components
    weights = sum(part.bytes for part in parts if part.name == "weights")
    return weights, sum(part.bytes for part in parts if part.name.endswith("_cache"))


def _reference(config: Mapping[str, Any], architecture: str) -> tuple[int | None, int | None, str]:
    """Return transformers' parameters, its cache's bytes, and why one of them is not there."""
    import transformers  # noqa: PLC0415

    model_class = getattr(transformers, architecture, None)
    if model_class is None:
        return None, None, f"transformers {transformers.__version__} has no {architecture}"
    try:
        model = built(model_class, {name: _read(value) for name, value in config.items() if name not in _QUANTISED})
    except UNBUILDABLE as error:
        return None, None, f"not built: {type(error).__name__}: {error}"[:240]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    try:
        return parameters, cache_bytes(model, config), ""
    except UNBUILDABLE as error:
        return parameters, None, f"no step on the meta device: {type(error).__name__}"


def _read(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value as transformers reads it from a file: it writes an infinity as an object."""
    if isinstance(value, Mapping) and value.keys() == {"__float__"}:
        return float(value["__float__"])
    return [_read(each) for each in value] if isinstance(value, list) else value


def built(model_class: Any, fields: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any of transformers' classes
    """Return a model on the meta device; experts by the implementation that takes a step there, where the class lets one choose."""
    import torch  # noqa: PLC0415

    config = model_class.config_class.from_dict(dict(fields))
    with torch.device("meta"):
        try:
            config._experts_implementation = "grouped_mm"  # noqa: SLF001 - no other way to say so
            return model_class(config).eval()
        except ValueError:
            return model_class(model_class.config_class.from_dict(dict(fields))).eval()


def cache_bytes(model: Any, config: Mapping[str, Any], tokens: int = TOKENS) -> int | None:  # noqa: ANN401 - any of transformers' classes
    """Return the bytes that the cache has after so many tokens; None for what keeps none, or reads pictures first."""
    import torch  # noqa: PLC0415

    # A packed checkpoint computes in 16 bit where its config says nothing, a plain one in 32.
    text = config.get("text_config", config)
    named = [part[key] for part in (text, config) for key in ("dtype", "torch_dtype") if part.get(key)]
    silent = "bfloat16" if any(name in config for name in _QUANTISED) else "float32"
    model.to(getattr(torch, str(named[0] if named else silent)))
    ids = torch.zeros((1, tokens), dtype=torch.long, device="meta")
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.inference_mode():
        answer = model(input_ids=ids, use_cache=True, **more)
    kept = getattr(answer, "past_key_values", None) or getattr(answer, "cache_params", None)
    if kept is None:
        return None
    # A view keeps its whole storage: a layer with a window shows the last tokens of the whole prompt's.
    storages = {storage._cdata: storage.nbytes() for storage in map(_storage_of, _tensors(kept))}  # noqa: SLF001 - its identity
    return sum(storages.values())


def _tensors(kept: Any) -> Iterator[Any]:  # noqa: ANN401 - a cache of any kind
    """Yield every tensor of a cache once."""
    import torch  # noqa: PLC0415

    seen, waiting = set(), [kept]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            if one.numel() > 1:
                yield one
        elif isinstance(one, Mapping):
            waiting.extend(one.values())
        elif isinstance(one, list | tuple):
            waiting.extend(one)
        elif type(one).__module__.startswith("transformers.") and hasattr(one, "__dict__"):
            waiting.extend(value for name, value in vars(one).items() if name != "config")


def _storage_of(tensor: Any) -> Any:  # noqa: ANN401 - torch is imported late
    return tensor.untyped_storage()


def main() -> int:
    """Print one line a config and the sums; 1 where a figure differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", nargs="*", help="only configs whose name holds one of these")
    parser.add_argument(
        "--out", type=Path, help=f"default {_OUT.name} in benchmarks/results, where all are gone through"
    )
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for public in publics():
        if not arguments.part or any(part in public.name for part in arguments.part):
            rows.append(judge(public))
            print(_line(rows[-1]), flush=True)
    summary = {
        "configs": len(rows),
        "real": sum(row.is_real for row in rows),
        "outcomes": dict(sorted(Counter(row.outcome for row in rows).items())),
        "caches compared": sum(row.cache_reference is not None for row in rows),
    }
    print(json.dumps(summary))
    out = arguments.out or (None if arguments.part else _OUT)
    if out:
        content = {"summary": summary, "rows": [asdict(row) for row in rows]}
        out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return int(any(row.outcome == "differs" for row in rows))


def _line(row: Row) -> str:
    count = "" if row.parameters is None else f"{row.parameters:,}"
    return f"{row.name[:46]:48}{row.outcome:9}{count:>18}  {row.reason}"


if __name__ == "__main__":
    raise SystemExit(main())
