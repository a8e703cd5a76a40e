"""Every variant on the same texts, teacher-forced: what golden probes would measure, and each variant's true KL a token."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.dtesn.drift import plan, pools, sampling, train, variants
from benchmarks.dtesn.drift.llama import Llama
from benchmarks.dtesn.drift.plan import GROUPS, MAX_ANSWER_LENGTH, Group
from benchmarks.dtesn.drift.pools import Pool
from benchmarks.dtesn.drift.sampling import Drawing
from benchmarks.dtesn.drift.variants import VARIANTS, Variant

TEXTS_PER_GROUP: Final = 93
BF16: Final = Variant("bf16", "BF16", weights=variants.bf16)
PROBED: Final = (*VARIANTS, BF16)
_KEYS: Final = ("kl", "log_probability", "entropy")


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """A variant on texts that the old version wrote, in a random order; each array is [texts, tokens], NaN behind a text's end.

    ``kl``: of the variant's own distribution from the old version's, in nats a token. ``served_kl``: per text, of the distributions that
    tokens are drawn from, new from old (infinite where something is excluded); ``served_kl_back``: old from new.
    """

    kl: NDArray[np.float32]
    log_probability: NDArray[np.float32]
    entropy: NDArray[np.float32]
    served_kl: NDArray[np.float32]
    served_kl_back: NDArray[np.float32]
    group: NDArray[np.int64]


def probe_all() -> None:
    """Score the groups that are not scored yet, all variants at once: the old version's distributions are made once."""
    torch.set_num_threads(1)
    _folder().mkdir(exist_ok=True)
    old = variants.old_model()
    models = [variants.model_of(variant, old) for variant in PROBED]
    pool, began_s = pools.load(variants.OLD), time.process_time()
    headers = [pools.headers(variant) for variant in PROBED]
    for group in np.random.default_rng(5).permutation(len(GROUPS)):
        path = _folder() / f"group{group:03d}.npz"
        if path.exists():
            continue
        with torch.inference_mode():
            arrays = _group(GROUPS[group], pool, models, [header[GROUPS[group].kind] for header in headers])
        np.savez(path.with_suffix(".new.npz"), **arrays)
        path.with_suffix(".new.npz").replace(path)
        print(f"group {group}: {time.process_time() - began_s:.0f} s of CPU", flush=True)


def load(name: str) -> Probes:
    """Read a variant's probes, of all groups that are scored."""
    parts: dict[str, list[NDArray]] = {key: [] for key in (*_KEYS, "served_kl", "served_kl_back", "group")}
    for path in sorted(_folder().glob("group???.npz")):
        with np.load(path) as stored:
            for key in _KEYS:
                found = stored[f"{name}-{key}"]
                parts[key].append(
                    np.pad(found, ((0, 0), (0, MAX_ANSWER_LENGTH - found.shape[1])), constant_values=np.nan)
                )
            parts["served_kl"].append(stored[f"{name}-served_kl"])
            parts["served_kl_back"].append(stored[f"{name}-served_kl_back"])
            parts["group"].append(np.full(len(parts["kl"][-1]), int(path.stem[5:8])))
    order = np.random.default_rng(6).permutation(sum(map(len, parts["kl"])))
    return Probes(**{key: np.concatenate(found)[order] for key, found in parts.items()})


def _folder() -> Path:
    return train.checkpoint_folder() / "probes"


def _group(
    group: Group, pool: Pool, models: list[Llama], headers: list[torch.Tensor]
) -> dict[str, NDArray[np.float32]]:
    chosen = np.flatnonzero(pool.group == group.index)[:TEXTS_PER_GROUP]
    prompts, answers = pool.prompts[chosen, : group.prompt_length], pool.tokens[chosen, : group.answer_length]
    texts = torch.from_numpy(np.concatenate([prompts, answers], axis=1))
    old = sampling.scored(models[0], headers[0], texts, group.prompt_length)
    found = {}
    for variant, model, header in zip(PROBED, models, headers, strict=True):
        size = variant.batch or len(texts)
        parts = [sampling.scored(model, header, part, group.prompt_length) for part in texts.split(size)]
        measured = _measured(old, torch.cat(parts), torch.from_numpy(answers), variant)
        found.update({f"{variant.name}-{key}": value.numpy() for key, value in measured.items()})
    return found


def _measured(old: torch.Tensor, new: torch.Tensor, tokens: torch.Tensor, variant: Variant) -> dict[str, torch.Tensor]:
    served = sampling.served(new, Drawing(variant.temperature, variant.top_p))
    return {
        "kl": _kl(old, new),
        "log_probability": new.gather(2, tokens[:, :, None])[:, :, 0],
        "entropy": sampling.entropy(new),
        "served_kl": _kl(old, served).mean(dim=1),
        "served_kl_back": _kl(served, old).mean(dim=1),
    }


def _kl(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return KL(first || second), summed in double precision: rounding would be as large as what INT8 changes."""
    first, second = first.double(), second.double()
    terms = torch.where(first == float("-inf"), 0.0, first.exp() * (first - second))
    return terms.sum(dim=-1).clamp(min=0.0).float()


def texts() -> int:
    """Return how many texts are scored."""
    return len(list(_folder().glob("group???.npz"))) * min(TEXTS_PER_GROUP, plan.GROUP_SIZE)
