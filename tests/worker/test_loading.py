"""What can be loaded, in which dtype, and what is refused; all cases in one process, as importing torch is slow."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from echoplaned.core.facts import Dtype
from echoplaned.core.spec import ShapeRequest
from echoplaned.engines.launcher import LaunchOptions, default_bytecode_cache, leader_environment
from echoplaned.planning.sizing import size_model
from tests.models import Checkpoints

pytestmark = pytest.mark.system

Results = dict[str, dict[str, object]]


def changed(source: Path, out: Path, **config: object) -> Path:
    """Copy a checkpoint and change its config."""
    shutil.copytree(source, out)
    path = out / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return out


def rewritten(source: Path, out: Path, name: str, content: bytes) -> Path:
    """Copy a checkpoint and replace one file; no content removes it."""
    shutil.copytree(source, out)
    (out / name).unlink(missing_ok=True)
    if content:
        (out / name).write_bytes(content)
    return out


def scaled(source: Path, out: Path, factor: float) -> Path:
    """Copy a checkpoint and make its first position embedding huge."""
    shutil.copytree(source, out)
    weights = load_file(source / "model.safetensors")
    weights["embeddings.position_embeddings.weight"][0] *= np.float32(factor)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return out


def with_token_more(source: Path, out: Path) -> Path:
    """Copy a checkpoint and give its tokenizer a token that the model has no embedding for."""
    shutil.copytree(source, out)
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    tokenizer.add_tokens(["antidisestablishmentarianism"])
    tokenizer.save(str(out / "tokenizer.json"))
    return out


def halved(source: Path, out: Path) -> Path:
    """Copy a checkpoint with its weights in FP16."""
    shutil.copytree(source, out)
    weights = load_file(source / "model.safetensors")
    halves = {name: each.astype(np.float16) if each.dtype == np.float32 else each for name, each in weights.items()}
    save_file(halves, out / "model.safetensors", metadata={"format": "pt"})
    return out


def sharded(source: Path, out: Path) -> Path:
    """Copy a checkpoint with its weights in two files and an index that has nothing but the map."""
    shutil.copytree(source, out)
    weights = load_file(source / "model.safetensors")
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for part, held in parts.items():
        save_file({name: weights[name] for name in held}, out / part, metadata={"format": "pt"})
    (out / "model.safetensors").unlink()
    placed = {name: part for part, held in parts.items() for name in held}
    (out / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    return out


def embedding(source: Path, out: Path, mode: str, **files: object) -> Path:
    """Copy a decoder with the modules that make an embedding of it."""
    shutil.copytree(source, out)
    kinds = ["Transformer", "Pooling", "Normalize"]
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": f"1_{kind}"} for kind in kinds]
    (out / "modules.json").write_text(json.dumps(modules))
    (out / "1_Pooling").mkdir()
    (out / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{mode}": True}))
    for name, content in files.items():
        (out / f"{name}.json").write_text(json.dumps(content))
    return out


def good_layouts(made: Checkpoints, out: Path) -> dict[str, tuple[Path, str, str]]:
    """Return sound checkpoints whose files are laid out in ways that a load could stumble over."""
    decoder = made.decoder
    stale = json.dumps({"metadata": {}, "weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}).encode()
    code = f"open({str(out / 'ran')!r}, 'w').close()\nraise SystemExit(3)\n".encode()
    prompted = {"prompts": {"query": "sea "}, "default_prompt_name": "query"}
    return {
        "shards": (sharded(decoder, out / "shards"), "GENERATION", "FP32"),
        "stale index": (rewritten(decoder, out / "stale", "model.safetensors.index.json", stale), "GENERATION", "FP32"),
        "code beside": (rewritten(decoder, out / "code", "modeling_llama.py", code), "GENERATION", "FP32"),
        "mean": (embedding(decoder, out / "mean", "mean_tokens"), "EMBEDDING", "FP32"),
        "last": (embedding(decoder, out / "last", "lasttoken"), "EMBEDDING", "FP32"),
        "prompted": (
            embedding(decoder, out / "prompted", "lasttoken", config_sentence_transformers=prompted),
            "EMBEDDING",
            "FP32",
        ),
    }


def cases(made: Checkpoints, out: Path) -> dict[str, tuple[Path, str, str]]:
    """Return every case by name: source, task, dtype."""
    encoder = made.encoder
    whole = (encoder / "model.safetensors").read_bytes()
    tasks = {"EMBEDDING": encoder, "CLASSIFICATION": made.classifier, "GENERATION": made.decoder}
    good = {
        f"{task} {dtype}": (source, task, dtype)
        for task, source in tasks.items()
        for dtype in ("FP32", "FP16", "BF16", "INT8")
    }
    good["half INT8"] = (halved(encoder, out / "half"), "EMBEDDING", "INT8")
    cls_pooling = json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}).encode()
    bad = {
        "nan": made.poisoned,
        "nowhere": out / "nowhere",
        "truncated": rewritten(encoder, out / "truncated", "model.safetensors", whole[:-100]),
        "huge header": rewritten(encoder, out / "huge", "model.safetensors", struct.pack("<Q", 2**63) + b"{}"),
        "no tokenizer": rewritten(encoder, out / "no-tokenizer", "tokenizer.json", b""),
        "no config": rewritten(encoder, out / "no-config", "config.json", b""),
        "bad config": rewritten(encoder, out / "bad-config", "config.json", b"{nonsense"),
        "wider config": changed(encoder, out / "wider", hidden_size=256),
        "more layers": changed(encoder, out / "more-layers", num_hidden_layers=3),
        "unknown type": changed(encoder, out / "unknown", model_type="warp-drive"),
        "tokenizer of another model": with_token_more(encoder, out / "token-more"),
        "pickle": rewritten(encoder, out / "pickle", "model.safetensors", b""),
        "dense module": rewritten(
            encoder,
            out / "dense",
            "modules.json",
            json.dumps([{"type": "sentence_transformers.models.Dense", "path": ""}]).encode(),
        ),
        "outside pooling": rewritten(
            encoder, out / "outside", "modules.json", json.dumps([{"type": "models.Pooling", "path": "../.."}]).encode()
        ),
    }
    (bad["pickle"] / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    bad["null flag"] = changed(encoder, out / "null-flag", tie_word_embeddings=None)
    return {
        **good,
        **good_layouts(made, out),
        **{name: (source, "EMBEDDING", "FP32") for name, source in bad.items()},
        "cls pooling": (rewritten(encoder, out / "cls", "1_Pooling/config.json", cls_pooling), "EMBEDDING", "FP32"),
        "no modules": (rewritten(encoder, out / "no-modules", "modules.json", b""), "EMBEDDING", "FP32"),
        "encoder as decoder": (encoder, "GENERATION", "FP32"),
        "too large for FP16": (scaled(encoder, out / "large", 1e6), "EMBEDDING", "FP16"),
        "large in BF16": (scaled(encoder, out / "large-bf16", 1e6), "EMBEDDING", "BF16"),
    }


@pytest.fixture(scope="module")
def results(checkpoints: Checkpoints, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What came of every case."""
    todo = cases(checkpoints, tmp_path_factory.mktemp("cases"))
    options = LaunchOptions(Path("/unused"), bytecode_cache=default_bytecode_cache(Path.home()))
    done = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name("load_many.py"))],
        input=json.dumps([[str(source), task, dtype] for source, task, dtype in todo.values()]),
        env={**leader_environment(options), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(todo, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("dtype", ["FP32", "FP16", "BF16", "INT8"])
@pytest.mark.parametrize("task", ["EMBEDDING", "CLASSIFICATION", "GENERATION"])
def test_every_task_runs_in_every_dtype(results: Results, task: str, dtype: str) -> None:
    """A good checkpoint loads and answers, and a smaller dtype takes less memory."""
    result = results[f"{task} {dtype}"]
    assert "error" not in result
    assert result["failed"] == []
    full = results[f"{task} FP32"]["bytes"]
    assert isinstance(full, int)
    share = {"FP32": (1.0, 1.0), "FP16": (0.49, 0.51), "BF16": (0.49, 0.51), "INT8": (0.25, 0.75)}[dtype]
    assert share[0] * full <= cast(int, result["bytes"]) <= share[1] * full


def test_int8_starts_from_the_stored_dtype(results: Results, checkpoints: Checkpoints, tmp_path: Path) -> None:
    """INT8 keeps what it does not quantise as the file has it, and takes the bytes that were planned."""
    planned = {
        "EMBEDDING INT8": size_model(checkpoints.encoder, ShapeRequest(dtype=Dtype.INT8)),
        "half INT8": size_model(halved(checkpoints.encoder, tmp_path / "half"), ShapeRequest(dtype=Dtype.INT8)),
    }
    for name, sized in planned.items():
        kept = {"weights", "quantisation_zero_points", "buffers"}
        assert results[name]["bytes"] == sum(part.bytes for part in sized.components if part.name in kept)
        assert results[name]["failed"] == []
    vectors = [np.array(results[name]["vector"]) for name in planned]
    assert np.abs(vectors[0] - vectors[1]).max() < 0.01


def test_nothing_keeps_the_file(results: Results) -> None:
    """Whatever the task and the dtype, a loaded model has memory of its own: the file may change, or be cut to nothing."""
    loaded = {name: result["mapped"] for name, result in results.items() if "error" not in result}
    assert len(loaded) >= 12
    assert not any(loaded.values()), loaded


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nan", "not finite"),
        ("nowhere", "no model.safetensors"),
        ("truncated", "model.safetensors"),
        ("huge header", "model.safetensors"),
        ("no tokenizer", "okenizer"),
        ("no config", "config"),
        ("bad config", "config"),
        ("wider config", ""),
        ("more layers", "lacks 16 of the model's weights"),
        ("unknown type", "warp-drive"),
        ("tokenizer of another model", "the tokenizer does not belong to the model: its ids go up to"),
        ("pickle", "no model.safetensors"),
        ("dense module", "'Dense'"),
        ("outside pooling", "outside the checkpoint"),
        ("encoder as decoder", "lacks"),
        ("too large for FP16", "do not fit into FP16"),
        ("null flag", "tie_word_embeddings"),
    ],
)
def test_a_bad_checkpoint_is_refused_with_a_reason(results: Results, name: str, says: str) -> None:
    """Nothing bad is served, nothing missing is made up, and the reason is in the message."""
    assert says in str(results[name]["error"])


def test_bf16_has_the_range_that_fp16_lacks(results: Results) -> None:
    """What does not fit into FP16 is served in BF16."""
    assert results["large in BF16"].get("failed") == []


def test_pooling_follows_the_checkpoint(results: Results) -> None:
    """Mean with normalisation, the first token, or plain mean where nothing is said: three different vectors."""
    mean, first, plain = (np.array(results[name]["vector"]) for name in ("EMBEDDING FP32", "cls pooling", "no modules"))
    assert np.linalg.norm(mean) == pytest.approx(1.0, abs=1e-5)
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-5)
    assert np.linalg.norm(plain) != pytest.approx(1.0, abs=1e-2)
    assert not np.allclose(mean, first)
    assert np.allclose(plain / np.linalg.norm(plain), mean, atol=1e-5)


@pytest.mark.parametrize("name", ["shards", "stale index", "code beside", "mean", "last", "prompted"])
def test_layouts_that_people_have_are_loaded(results: Results, name: str) -> None:
    """An index without metadata, a stale one, code that nobody asks for, and decoders that embed."""
    assert "error" not in results[name], results[name]
    assert results[name]["failed"] == []
    if name in {"shards", "stale index", "code beside"}:
        assert results[name]["bytes"] == results["GENERATION FP32"]["bytes"]


def test_code_beside_a_checkpoint_is_never_run(results: Results) -> None:
    """A file that would end the process and leave a mark does neither."""
    assert results["code beside"]["outcomes"] == results["GENERATION FP32"]["outcomes"]
    assert results["code beside"]["beside"] == []


def test_a_decoder_embeds_by_its_last_token(results: Results) -> None:
    """The last token's vector is another one than the mean, of length one, and the default prompt changes it."""
    mean, last, prompted = (np.array(results[name]["vector"]) for name in ("mean", "last", "prompted"))
    for vector in (mean, last, prompted):
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    assert not np.allclose(mean, last, atol=1e-3)
    assert not np.allclose(prompted, last, atol=1e-3)
