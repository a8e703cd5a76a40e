"""Checkpoints that real packers write, beside the plan: weights as planned with the files and from the config alone, against the headers.

Run by a Python that has torch, transformers and what packs: ``compressed-tensors``, ``bitsandbytes``, ``hqq``, ``optimum-quanto``,
``torchao``, ``gguf`` (an environment of its own; each that is not there is a row that says so):

python -m benchmarks.allocator.packers [--out FILE] [KIND …]

A small Llama with random weights is packed by each on the CPU and saved. The truth is the sum of the tensors' bytes in the headers.
"""

from __future__ import annotations

import argparse
import json
import struct
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from typing import Any, Final

from echoplaned import _allocator

_OUT: Final = Path(__file__).parents[1] / "results" / "allocator-packers.json"
SHAPE: Final = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1024,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
}
PRESETS: Final = (
    "W8A16",
    "W4A16",
    "W4A16_ASYM",
    "W8A8",
    "W4A8",
    "FP8",
    "FP8_DYNAMIC",
    "FP8_BLOCK",
    "NVFP4",
    "NVFP4A16",
    "MXFP4",
)
GGUF_KINDS: Final = ("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
Pack = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Packed:
    """One kind. Bytes of all tensors in the headers, of the weights as planned with the files, and from the config alone.

    ``parameters``: as planned with the files. ``note``: what a packer or the plan said, where something is not there.
    """

    kind: str
    packer: str
    outcome: str
    headers_bytes: int | None = None
    planned_bytes: int | None = None
    config_bytes: int | None = None
    parameters: int | None = None
    note: str = ""


def model() -> Any:  # noqa: ANN401 - torch and transformers are imported late
    """Return a small Llama in BF16."""
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    torch.manual_seed(0)
    built = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE, dtype="bfloat16"))
    return built.to(torch.bfloat16).eval()


def compressed(preset: str) -> Pack:
    """Return a packer that takes one of compressed-tensors' presets."""

    def pack(out: Path) -> None:
        from compressed_tensors.compressors import ModelCompressor  # noqa: PLC0415
        from compressed_tensors.quantization import (  # noqa: PLC0415
            QuantizationConfig,
            apply_quantization_config,
            preset_name_to_scheme,
        )

        subject = model()
        scheme = preset_name_to_scheme(preset, ["Linear"])
        config = QuantizationConfig(config_groups={"group_0": scheme}, ignore=["lm_head"])
        apply_quantization_config(subject, config)
        compressor = ModelCompressor.from_pretrained_model(subject)
        compressor.compress_model(subject)
        subject.save_pretrained(out)
        compressor.update_config(out)

    return pack


def by_transformers(config: Callable[[Any], Any]) -> Pack:
    """Return a packer that loads a plain checkpoint with a quantisation config of transformers, and saves what it has then."""

    def pack(out: Path) -> None:
        import transformers  # noqa: PLC0415

        plain = out.parent / f"{out.name}-plain"
        model().save_pretrained(plain)
        asked = config(transformers)
        packed = transformers.AutoModelForCausalLM.from_pretrained(plain, quantization_config=asked, device_map="cpu")
        packed.save_pretrained(out)

    return pack


def torchao_int8(transformers: Any) -> Any:  # noqa: ANN401 - a module that is imported late
    """Return transformers' config for torchao's INT8."""
    from torchao.quantization import Int8WeightOnlyConfig  # noqa: PLC0415

    return transformers.TorchAoConfig(Int8WeightOnlyConfig())


def quanto(out: Path) -> None:
    """Pack with quanto's own functions: transformers does not save its models."""
    from optimum.quanto import freeze, qint8, quantize  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    subject = model()
    quantize(subject, weights=qint8, exclude="lm_head")
    freeze(subject)
    subject.config.save_pretrained(out)
    save_file({name: tensor.contiguous() for name, tensor in subject.state_dict().items()}, out / "model.safetensors")
    path = out / "config.json"
    content = json.loads(path.read_text()) | {
        "architectures": ["LlamaForCausalLM"],
        "quantization_config": {"quant_method": "quanto", "weights": "int8"},
    }
    path.write_text(json.dumps(content))


def gguf_of(kind: str) -> Pack:
    """Return a packer that writes a GGUF file whose matrices are of a type; vectors stay in FP32, as llama.cpp's converter leaves them."""

    def pack(out: Path) -> None:
        import gguf  # noqa: PLC0415

        out.mkdir()
        writer = gguf.GGUFWriter(out / "model.gguf", "llama")
        writer.add_block_count(SHAPE["num_hidden_layers"])
        writer.add_context_length(SHAPE["max_position_embeddings"])
        writer.add_embedding_length(SHAPE["hidden_size"])
        writer.add_feed_forward_length(SHAPE["intermediate_size"])
        writer.add_head_count(SHAPE["num_attention_heads"])
        writer.add_head_count_kv(SHAPE["num_key_value_heads"])
        writer.add_vocab_size(SHAPE["vocab_size"])
        names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, SHAPE["num_hidden_layers"])
        for name, tensor in model().float().state_dict().items():
            values, wanted = tensor.numpy(), gguf.GGMLQuantizationType[kind if tensor.dim() > 1 else "F32"]
            packed = gguf.quants.quantize(values, wanted)
            writer.add_tensor(f"{names.get_name(name, ('.weight',))}.weight", packed, raw_dtype=wanted)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    return pack


KINDS: Final[dict[str, tuple[str, Pack]]] = {
    **{f"compressed-tensors {name}": ("compressed-tensors", compressed(name)) for name in PRESETS},
    "bitsandbytes NF4": ("bitsandbytes", by_transformers(lambda t: t.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"))),
    "bitsandbytes NF4 double": (
        "bitsandbytes",
        by_transformers(
            lambda t: t.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
        ),
    ),
    "bitsandbytes INT8": ("bitsandbytes", by_transformers(lambda t: t.BitsAndBytesConfig(load_in_8bit=True))),
    "hqq 4 bit": ("hqq", by_transformers(lambda t: t.HqqConfig(nbits=4, group_size=64))),
    "torchao INT8": ("torchao", by_transformers(torchao_int8)),
    "quanto INT8": ("optimum-quanto", quanto),
    **{f"GGUF {name}": ("gguf", gguf_of(name)) for name in GGUF_KINDS},
}  # fmt: skip


def measure(kind: str, packer: str, pack: Pack, folder: Path) -> Packed:
    """Pack, and compare."""
    try:
        named = f"{packer} {version(packer)}"
    except PackageNotFoundError:
        return Packed(kind, packer, "not packed", note="the package is not installed")
    out = folder / kind.replace(" ", "-")
    try:
        pack(out)
    except Exception as error:  # noqa: BLE001 - packers raise whatever they like, and the row says what it was
        return Packed(kind, named, "not packed", note=f"{type(error).__name__}: {error}"[:240])
    return _compare(kind, named, out)


def _compare(kind: str, named: str, out: Path) -> Packed:
    files = sorted(out.glob("*.safetensors"))
    is_gguf = not files
    if is_gguf and not list(out.glob("*.gguf")):
        return Packed(
            kind, named, "not packed", note=f"it wrote {', '.join(sorted(one.name for one in out.iterdir()))}"
        )
    truth = _gguf_bytes(out / "model.gguf") if is_gguf else sum(_header_bytes(file) for file in files)
    try:
        found = _allocator.survey(out / "model.gguf" if is_gguf else out)
    except _allocator.AllocatorError as error:
        return Packed(kind, named, "refused", truth, note=f"{type(error).__name__}: {error}"[:240])
    planned = _weights(found, "llama.cpp" if is_gguf else "vllm")
    alone, note = (None, "a file without a config") if is_gguf else _from_config(out / "config.json")
    if alone is not None and alone != truth:
        note = f"config alone: {alone - truth:+} bytes"
    return Packed(
        kind, named, "exact" if planned == truth else "differs", truth, planned, alone, found.parameter_count, note
    )


def _weights(found: _allocator.Checkpoint, engine: str) -> int:
    request = _allocator.Request(
        engine_name=engine, dtype_name=found.stored_dtype, context_length=128, max_concurrency=1
    )
    return sum(part.bytes for part in _allocator.size(found, request).components if part.name == "weights")


def _from_config(path: Path) -> tuple[int | None, str]:
    try:
        return _weights(_allocator.survey_config(path.read_bytes()), "vllm"), ""
    except _allocator.AllocatorError as error:
        return None, f"config alone: {error}"[:240]


def _header_bytes(path: Path) -> int:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    spans = [entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"]
    return sum(end - begin for begin, end in spans)


def _gguf_bytes(path: Path) -> int:
    import gguf  # noqa: PLC0415

    return sum(int(prod(tensor.data.shape) * tensor.data.itemsize) for tensor in gguf.GGUFReader(path).tensors)


def main() -> int:
    """Print one line a kind; 1 where a figure differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", nargs="*", help="only kinds whose name holds one of these")
    parser.add_argument(
        "--out", type=Path, help=f"default {_OUT.name} in benchmarks/results, where all are gone through"
    )
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, (packer, pack) in KINDS.items():
            if not arguments.kind or any(part in kind for part in arguments.kind):
                rows.append(measure(kind, packer, pack, Path(folder)))
                one = rows[-1]
                print(
                    f"{one.kind:32}{one.outcome:12}{one.headers_bytes!s:>10}{one.planned_bytes!s:>10}{one.config_bytes!s:>10}  {one.note}",
                    flush=True,
                )
    print(json.dumps(dict(sorted(Counter(row.outcome for row in rows).items()))))
    out = arguments.out or (None if arguments.kind else _OUT)
    if out:
        out.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    return int(any(row.outcome == "differs" for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
