"""Devices that are not here, for the plans of machines that one does not have.

Known cards by name, and others by size.
"""

from __future__ import annotations

import re
from typing import Final

from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.failure import InvalidField
from echoplaned.core.plan import Device
from echoplaned.planning.devices import reserve_bytes

FIELD: Final = "device"
MAX_COUNT: Final = 64
_MIB: Final = 1024**2
_UNITS: Final = {"mib": _MIB, "gib": 1024**3, "tib": 1024**4, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SPEC: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]{0,40})(?::([0-9]{1,4}))?")
_SIZE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([a-z]{2,3})")

CARDS: Final[dict[str, tuple[str, int]]] = {
    "a10": ("NVIDIA A10", 23_028),
    "a30": ("NVIDIA A30", 24_576),
    "a100-40g": ("NVIDIA A100 40GB", 40_960),
    "a100-80g": ("NVIDIA A100 80GB", 81_920),
    "a6000": ("NVIDIA RTX A6000", 49_140),
    "b200": ("NVIDIA B200", 183_359),
    "gh200-96g": ("NVIDIA GH200 480GB", 97_871),
    "h20": ("NVIDIA H20", 97_871),
    "h100-80g": ("NVIDIA H100 80GB HBM3", 81_559),
    "h100-nvl": ("NVIDIA H100 NVL", 95_830),
    "h200": ("NVIDIA H200", 143_771),
    "l4": ("NVIDIA L4", 23_034),
    "l40s": ("NVIDIA L40S", 46_068),
    "rtx-3090": ("NVIDIA GeForce RTX 3090", 24_576),
    "rtx-4090": ("NVIDIA GeForce RTX 4090", 24_564),
    "rtx-5090": ("NVIDIA GeForce RTX 5090", 32_607),
    "rtx-6000-ada": ("NVIDIA RTX 6000 Ada Generation", 49_140),
    "rtx-pro-6000": ("NVIDIA RTX PRO 6000 Blackwell", 97_887),
    "t4": ("Tesla T4", 15_360),
    "v100-32g": ("Tesla V100-SXM2-32GB", 32_768),
}
"""The maker's name, and MiB of total memory as NVML gives it, which is not what a data sheet says (an H100 has 81,559 of its
"80 GB"). A10, A100, H100, H200, L4, L40S and T4: the table of a cloud's provider over its own cards
(thundergolfer.com/blog/nvidia-gpu-memory-capacity); the others: `nvidia-smi`'s output in at least two public repositories each."""


def devices_of(spec: str) -> tuple[Device, ...]:
    """Return the devices that ``NAME:COUNT`` or ``SIZE:COUNT`` stands for.

    For example ``h100-80g:8`` or ``80GiB:8``; without a count, one device.

    Raises:
        FieldInvalidError: it is neither a known card nor a size, or there are none or too many of it.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise _invalid("is no NAME:COUNT and no SIZE:COUNT, such as h100-80g:8 or 80GiB:8")
    count = int(match[2] or 1)
    if not 1 <= count <= MAX_COUNT:
        raise _invalid(f"has a count of {count}; 1 to {MAX_COUNT} can be planned")
    name, total_bytes = _card(match[1])
    reserve = reserve_bytes(total_bytes)
    return tuple(Device(f"cuda:{at}", "cuda", name, total_bytes, reserve) for at in range(count))


def _card(text: str) -> tuple[str, int]:
    """Return a name and the total memory in bytes."""
    known = CARDS.get(text.lower())
    if known is not None:
        return known[0], known[1] * _MIB
    size = _SIZE.fullmatch(text.lower())
    if size is None or size[2] not in _UNITS:
        raise _invalid(f"{text!r} is no known card; write its size (80GiB), or one of {', '.join(CARDS)}")
    total_bytes = int(float(size[1]) * _UNITS[size[2]])
    if total_bytes < _MIB:
        raise _invalid(f"{text!r} is less than 1 MiB")
    return f"a device of {size[1]} {text[size.end(1) :]}", total_bytes


def _invalid(description: str) -> FieldInvalidError:
    return FieldInvalidError(InvalidField(FIELD, description))
