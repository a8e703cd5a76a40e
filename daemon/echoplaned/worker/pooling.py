"""How token vectors become one text vector.

The checkpoint's sentence-transformers files say how.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import torch

from echoplaned.worker.small_json import read_json
from echoplaned.worker_contract.inference.errors import LoadError

_MODES: Final = {
    "pooling_mode_mean_tokens": "MEAN",
    "pooling_mode_cls_token": "CLS",
    "pooling_mode_max_tokens": "MAX",
    "pooling_mode_lasttoken": "LASTTOKEN",
}
_KNOWN_MODULES: Final = frozenset({"Transformer", "Pooling", "Normalize"})


class PoolingMode(StrEnum):
    """Which function of the token vectors is taken."""

    MEAN = "MEAN"
    CLS = "CLS"
    MAX = "MAX"
    LASTTOKEN = "LASTTOKEN"


@dataclass(frozen=True, slots=True)
class Pooling:
    """Recipe that makes one text vector of token vectors.

    Attributes:
        mode: which token vectors count, and how they are combined.
        normalize: whether the result is divided by its Euclidean norm.
    """

    mode: PoolingMode = PoolingMode.MEAN
    normalize: bool = False

    def apply(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the text vectors of a batch, FP32 [batch, width].

        Args:
            hidden: token vectors, [batch, tokens, width].
            mask: 1 where a token stands and 0 where padding does, [batch, tokens].
        """
        vectors = hidden.float()
        weights = mask.unsqueeze(-1).to(vectors.dtype)
        if self.mode is PoolingMode.MEAN:
            pooled = (vectors * weights).sum(1) / weights.sum(1).clamp(min=1.0)
        elif self.mode is PoolingMode.CLS:
            pooled = vectors[:, 0]
        elif self.mode is PoolingMode.LASTTOKEN:
            # Padding comes behind the tokens, so the last one's place is their number less one.
            last = mask.sum(1).clamp(min=1) - 1
            pooled = vectors[torch.arange(vectors.shape[0], device=vectors.device), last]
        else:
            pooled = vectors.masked_fill(weights == 0, float("-inf")).amax(1)
        return torch.nn.functional.normalize(pooled, dim=-1) if self.normalize else pooled


def read_pooling(source: Path) -> Pooling:
    """Read how a checkpoint pools from ``modules.json`` and its pooling config.

    Mean pooling where there is no ``modules.json``.

    Raises:
        LoadError: the files ask for something that this engine does not do.
    """
    modules_path = source / "modules.json"
    if not modules_path.is_file():
        return Pooling()
    modules = read_json(modules_path)
    if not isinstance(modules, list):
        raise LoadError("modules.json is not a list")
    names = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    for name in names:
        if name not in _KNOWN_MODULES:
            raise LoadError(
                f"modules.json asks for {name[:64]!r}; this engine knows {', '.join(sorted(_KNOWN_MODULES))}"
            )
    mode = PoolingMode.MEAN
    for name, module in zip(names, modules, strict=True):
        if name == "Pooling":
            directory = (source / str(module.get("path", ""))).resolve()
            if not directory.is_relative_to(source.resolve()):
                raise LoadError("modules.json names a directory outside the checkpoint")
            mode = _read_mode(directory)
    return Pooling(mode, normalize="Normalize" in names)


def _read_mode(directory: Path) -> PoolingMode:
    """Return the one pooling mode that a pooling config switches on."""
    path = directory / "config.json"
    if not path.is_file():
        return PoolingMode.MEAN
    config = read_json(path)
    if not isinstance(config, dict):
        raise LoadError("the pooling config is not an object")
    named = config.get("pooling_mode")
    if isinstance(named, str):
        chosen = [named.upper()]
    else:
        chosen = [
            str(_MODES.get(key, key))
            for key, value in config.items()
            if key.startswith("pooling_mode_") and value is True
        ]
    if len(chosen) == 1 and chosen[0] in PoolingMode.__members__:
        return PoolingMode(chosen[0])
    raise LoadError(
        f"the pooling config asks for {chosen}; this engine knows exactly one of mean, cls, max and lasttoken"
    )
