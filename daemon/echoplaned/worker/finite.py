"""Looks for weights that are NaN or infinite."""

from __future__ import annotations

import math

import torch

from echoplaned.worker_contract.inference.errors import LoadError


def check_finite(name: str, tensor: torch.Tensor) -> None:
    """Raise if a tensor, or a part of one, holds NaN or an infinity.

    Raises:
        LoadError: it does; the message has the name.
    """
    if not tensor.is_floating_point() or not tensor.numel():
        return
    # A sum takes one pass and no memory and is finite only if all terms are; it may overflow, so only then look closer.
    wide = torch.float32 if tensor.element_size() < torch.float32.itemsize else tensor.dtype
    if not math.isfinite(tensor.sum(dtype=wide).item()) and not bool(torch.isfinite(tensor.to(wide)).all()):
        raise LoadError(f"the weights of {name} are not finite (NaN or an infinity)")
