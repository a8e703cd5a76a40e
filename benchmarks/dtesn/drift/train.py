"""Trains the small Llama: about 20 minutes of one thread, restartable, cached by the digest of the script and of the corpus.

The last printed line states the held-out loss. A run that was stopped goes on from its last saved step, with the same batches.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.dtesn.drift import corpus, network

STEPS: Final = 1600
BATCH: Final = 16
PEAK_RATE: Final = 3e-3
WARM_UP_STEPS: Final = 100
SAVE_EVERY_STEPS: Final = 100
HELD_OUT_WINDOWS: Final = 96
KIND_SHARES: Final = {"code": 0.45, "prose": 0.4, "data": 0.15}
IGNORED: Final = -100  # what torch's cross entropy leaves out


@dataclass(frozen=True, slots=True)
class Tokens:
    """One kind's text as tokens: what is trained on, and what is held out. ``header``: the template before it, with the start."""

    header: np.ndarray
    training: np.ndarray
    held_out: np.ndarray


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model in its folder (as transformers reads it), and its held-out loss in nats a token, in all and a kind."""

    folder: Path
    loss_nats: float
    losses_nats: dict[str, float]
    steps: int


def cache_root() -> Path:
    """Return the folder of everything the suite keeps: $ECHOPLANE_CACHE, else ~/.cache/echoplane."""
    return Path(os.environ.get("ECHOPLANE_CACHE", Path.home() / ".cache" / "echoplane")) / "drift"


def script_digest() -> str:
    """Return the digest of this package's training code, without comments and layout."""
    folder = Path(__file__).parent
    sources = [folder / name for name in ("corpus.py", "network.py", "train.py")]
    trees = [ast.dump(ast.parse(path.read_text(encoding="utf-8"))) for path in sources]
    return hashlib.sha256("\n".join(trees).encode()).hexdigest()


def checkpoint_folder() -> Path:
    """Return where the model of this script and this corpus lies, or will lie."""
    key = hashlib.sha256((script_digest() + corpus.digest(corpus.documents())).encode()).hexdigest()
    return cache_root() / key[:16]


def trained() -> Trained:
    """Return the cached model; raises FileNotFoundError where none was trained."""
    folder = checkpoint_folder()
    facts = json.loads((folder / "trained.json").read_text(encoding="utf-8"))
    return Trained(folder, facts["loss_nats"], facts["losses_nats"], facts["steps"])


def tokenizer_of(folder: Path) -> Tokenizer:
    """Return the tokenizer in a folder, trained and saved there first where there is none."""
    path = folder / "tokenizer.json"
    if not path.exists():
        texts = [document.text for document in corpus.documents() if not document.held_out]
        network.train_tokenizer(texts).save(str(path))
    return Tokenizer.from_file(str(path))


def tokens_of(folder: Path) -> dict[str, Tokens]:
    """Return each kind's tokens, kept in the folder."""
    tokenizer = tokenizer_of(folder)
    path = folder / "tokens.npz"
    if not path.exists():
        arrays = {}
        for kind in corpus.KINDS:
            for part in (False, True):
                texts = [d.text for d in corpus.documents() if d.kind == kind and d.held_out is part]
                ids = [np.array(encoding.ids, np.int16) for encoding in tokenizer.encode_batch(texts)]
                arrays[f"{kind}-{part}"] = np.concatenate(ids)
        np.savez(path, **arrays)
    with np.load(path) as stored:
        return {
            kind: Tokens(header_ids(tokenizer, network.template(kind)), stored[f"{kind}-False"], stored[f"{kind}-True"])
            for kind in corpus.KINDS
        }


def header_ids(tokenizer: Tokenizer, header: str) -> np.ndarray:
    """Return the start token and a template's tokens."""
    return np.array([tokenizer.token_to_id(network.START), *tokenizer.encode(header).ids], np.int16)


def train() -> Trained:
    """Return the cached model, trained first if need be."""
    torch.set_num_threads(1)
    folder = checkpoint_folder()
    if not (folder / "trained.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _run(folder, tokens_of(folder))
    return trained()


def _run(folder: Path, tokens: dict[str, Tokens]) -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**network.SHAPE))
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.95), weight_decay=0.05)
    state = folder / "state.pt"
    began_at, spent_s = 0, 0.0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        began_at, spent_s = saved["step"], saved["spent_s"]
    began_s = time.process_time()
    for step in range(began_at, STEPS):
        loss = train_step(model, optimizer, tokens, step)
        if (step + 1) % SAVE_EVERY_STEPS == 0:
            total_s = spent_s + time.process_time() - began_s
            saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**saved, "step": step + 1, "spent_s": total_s}, folder / "state.new")
            (folder / "state.new").replace(state)
            print(f"step {step + 1} of {STEPS}: loss {loss:.3f}, {total_s:.0f} s of CPU", flush=True)
    _finish(folder, model, tokens, spent_s + time.process_time() - began_s)


def train_step(
    model: LlamaForCausalLM,
    optimizer: torch.optim.Optimizer,
    tokens: dict[str, Tokens],
    step: int,
    rate: float | None = None,
) -> float:
    """Make one step of training, with the batch and (unless one is given) the rate of its number; return the loss in nats."""
    for group in optimizer.param_groups:
        group["lr"] = _rate(step) if rate is None else rate
    inputs, labels = _batch(tokens, np.random.default_rng([1, step]))
    loss = _loss(model, inputs, labels)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _rate(step: int) -> float:
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    return PEAK_RATE * warm * (0.05 + 0.95 * (1 + math.cos(math.pi * min(1.0, step / STEPS))) / 2)


def _batch(tokens: dict[str, Tokens], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    kinds = rng.choice(list(KIND_SHARES), size=BATCH, p=list(KIND_SHARES.values()))
    return _windows([(tokens[kind].header, tokens[kind].training) for kind in kinds], rng)


def _windows(
    sources: list[tuple[np.ndarray, np.ndarray]], rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a window of each source, its header first, and the labels, which leave the header out."""
    inputs = np.empty((len(sources), network.POSITIONS), np.int64)
    labels = np.full_like(inputs, IGNORED)
    for row, (header, text) in enumerate(sources):
        taken = network.POSITIONS - len(header)
        offset = int(rng.integers(0, len(text) - taken))
        inputs[row] = np.concatenate([header, text[offset : offset + taken]])
        labels[row, len(header) :] = inputs[row, len(header) :]
    return torch.from_numpy(inputs), torch.from_numpy(labels)


def _loss(model: LlamaForCausalLM, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=inputs, use_cache=False).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1))


def _finish(folder: Path, model: LlamaForCausalLM, tokens: dict[str, Tokens], cpu_s: float) -> None:
    losses = {}
    for kind in corpus.KINDS:
        rng = np.random.default_rng(2)
        with torch.no_grad():
            sources = [(tokens[kind].header, tokens[kind].held_out)] * HELD_OUT_WINDOWS
            losses[kind] = float(_loss(model, *_windows(sources, rng)))
    total = sum(KIND_SHARES[kind] * losses[kind] for kind in corpus.KINDS)
    model.save_pretrained(folder)
    facts = {"loss_nats": total, "losses_nats": losses, "steps": STEPS, "cpu_s": round(cpu_s)}
    (folder / "trained.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    kinds = ", ".join(f"{kind} {loss:.3f}" for kind, loss in losses.items())
    print(f"held-out loss {total:.3f} nats a token ({kinds}) after {STEPS} steps, {cpu_s:.0f} s of CPU", flush=True)
