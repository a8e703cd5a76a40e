"""The stored pools: sampled requests of every variant, on disk in the cache, one file a variant."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.dtesn.drift import plan, sampling, train, variants
from benchmarks.dtesn.drift.llama import Llama
from benchmarks.dtesn.drift.plan import GROUPS, MAX_ANSWER_LENGTH
from benchmarks.dtesn.drift.sampling import Answers, Batch, Drawing
from benchmarks.dtesn.drift.variants import VARIANTS, Variant

_MAX_PROMPT_LENGTH = max(plan.PROMPT_LENGTHS)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Requests of one variant, in a random order.

    ``log_probability`` and ``entropy``: [requests, tokens], NaN behind a request's end; ``tokens``: [requests, tokens], -1 there;
    ``prompts``: [requests, tokens], -1 behind a prompt's end; ``group``: [requests].
    """

    log_probability: NDArray[np.float32]
    entropy: NDArray[np.float32]
    tokens: NDArray[np.int64]
    prompts: NDArray[np.int64]
    group: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.group)

    @property
    def length(self) -> NDArray[np.int64]:
        """Tokens of each answer."""
        return np.array([group.answer_length for group in GROUPS])[self.group]

    @property
    def stratum(self) -> NDArray[np.int64]:
        """Each request's stratum."""
        return np.array([group.stratum for group in GROUPS])[self.group]


def folder() -> Path:
    """Return where the pools of this model lie."""
    return train.checkpoint_folder() / "pools"


def load(name: str) -> Pool:
    """Read a variant's pool."""
    with np.load(folder() / f"{name}.npz") as stored:
        return Pool(
            stored["log_probability"].astype(np.float32),
            stored["entropy"].astype(np.float32),
            stored["tokens"].astype(np.int64),
            stored["prompts"].astype(np.int64),
            stored["group"].astype(np.int64),
        )


def sample_all() -> None:
    """Make the pools that are not there yet."""
    torch.set_num_threads(1)
    folder().mkdir(exist_ok=True)
    old, tokens = variants.old_model(), train.tokens_of(train.checkpoint_folder())
    for number, variant in enumerate(VARIANTS):
        path = folder() / f"{variant.name}.npz"
        if path.exists():
            continue
        began_s = time.process_time()
        with torch.inference_mode(mode=variant.weights is not variants.fine_tuned):
            model = variants.model_of(variant, old)
        with torch.inference_mode():
            prompts = _prompts(tokens, number)
            answers = _answered(variant, model, prompts, number)
        _save(path, prompts, answers, number)
        count = sum(map(len, prompts))
        print(f"{variant.title}: {count} requests, {time.process_time() - began_s:.0f} s of CPU", flush=True)


def headers(variant: Variant) -> dict[str, torch.Tensor]:
    """Return the tokens that a variant puts before a prompt of each kind."""
    tokenizer = train.tokenizer_of(train.checkpoint_folder())
    found = {kind: train.header_ids(tokenizer, variant.template(kind)) for kind in train.KIND_SHARES}
    return {kind: torch.from_numpy(header.astype(np.int64)) for kind, header in found.items()}


def _prompts(tokens: dict[str, train.Tokens], number: int) -> list[NDArray[np.int64]]:
    """Draw each group's prompts; they follow from the variant's and the group's numbers."""
    return [plan.prompts(group, tokens, np.random.default_rng([3, number, group.index])) for group in GROUPS]


def _answered(variant: Variant, model: Llama, prompts: list[NDArray[np.int64]], number: int) -> list[Answers]:
    """Answer all groups' prompts."""
    before, drawing = headers(variant), Drawing(variant.temperature, variant.top_p)
    found = []
    for group, asked in zip(GROUPS, prompts, strict=True):
        generator = torch.Generator().manual_seed(1_000_000 * (number + 1) + group.index)
        parts = [
            sampling.answer(model, Batch(before[group.kind], part, group.answer_length), drawing, generator)
            for part in torch.from_numpy(asked).split(variant.batch or len(asked))
        ]
        joined = [torch.cat([getattr(part, name) for part in parts]) for name in Answers.__slots__]
        found.append(Answers(*joined))
    return found


def _save(path: Path, prompts: list[NDArray[np.int64]], answers: list[Answers], number: int) -> None:
    order = np.random.default_rng([4, number]).permutation(sum(map(len, prompts)))
    arrays = {
        "log_probability": _stacked(
            [a.log_probabilities.numpy() for a in answers], MAX_ANSWER_LENGTH, np.nan, np.float16
        ),
        "entropy": _stacked([a.entropies.numpy() for a in answers], MAX_ANSWER_LENGTH, np.nan, np.float16),
        "tokens": _stacked([a.tokens.numpy() for a in answers], MAX_ANSWER_LENGTH, -1, np.int16),
        "prompts": _stacked(prompts, _MAX_PROMPT_LENGTH, -1, np.int16),
        "group": np.repeat(np.arange(len(prompts)), [len(asked) for asked in prompts]).astype(np.int16),
    }
    unfinished = path.with_suffix(".new.npz")
    np.savez_compressed(unfinished, **{name: array[order] for name, array in arrays.items()})
    unfinished.replace(path)


def _stacked(parts: list[NDArray], width: int, filler: float, dtype: type) -> NDArray:
    padded = [np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=filler) for part in parts]
    return np.concatenate(padded).astype(dtype)
