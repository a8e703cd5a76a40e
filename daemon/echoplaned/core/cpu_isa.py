"""The instruction set that the embedded engine's matrix library computes with.

The library is oneDNN; the instruction set decides what a product copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class CpuIsa(StrEnum):
    """Instruction sets, told apart by what the library's kernels do with them.

    AVX2: that and older ones. UNKNOWN: the largest bound of all.
    """

    AVX2 = "AVX2"
    AVX512_CORE = "AVX512_CORE"
    AVX512_CORE_BF16 = "AVX512_CORE_BF16"
    AVX512_CORE_FP16 = "AVX512_CORE_FP16"
    AVX512_CORE_AMX = "AVX512_CORE_AMX"
    UNKNOWN = "UNKNOWN"


VARIABLES: Final = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""What limits the library; the first that is set counts."""

_ASCENDING: Final = (
    CpuIsa.AVX2,
    CpuIsa.AVX512_CORE,
    CpuIsa.AVX512_CORE_BF16,
    CpuIsa.AVX512_CORE_FP16,
    CpuIsa.AVX512_CORE_AMX,
)
# What each step needs beside those before it, by the kernel's names; the same as the library asks of the CPU.
_FLAGS: Final = (
    frozenset[str](),
    frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq"}),
    frozenset({"avx512_vnni", "avx512_bf16"}),
    frozenset({"avx512_fp16", "avx_vnni"}),
    frozenset({"amx_tile", "amx_int8", "amx_bf16"}),
)
_WITHOUT_512: Final = frozenset({"avx_vnni", "avx_vnni_int8", "avx_ne_convert"})
"""An AVX2 that computes in 16 bit all the same: nothing was measured of it."""
_LIMITS: Final = {
    "sse41": CpuIsa.AVX2,
    "avx": CpuIsa.AVX2,
    "avx2": CpuIsa.AVX2,
    "avx2_vnni": CpuIsa.AVX2,
    "avx512_core": CpuIsa.AVX512_CORE,
    "avx512_core_vnni": CpuIsa.AVX512_CORE,
    "avx512_core_bf16": CpuIsa.AVX512_CORE_BF16,
    "avx512_core_fp16": CpuIsa.AVX512_CORE_FP16,
    "avx10_1_512": CpuIsa.AVX512_CORE_FP16,
}
"""Values of the variable that are no limit to the highest step: all others are."""


def isa_of_cpu(cpuinfo: str, environment: Mapping[str, str]) -> CpuIsa:
    """Return the instruction set that the library will use on a CPU.

    Args:
        cpuinfo: the text of /proc/cpuinfo.
        environment: the environment that the library will have.
    """
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "").partition(":")[2].split()
    if not flags:
        return CpuIsa.UNKNOWN
    limit = next((environment[name] for name in VARIABLES if environment.get(name)), "").lower()
    step = -1
    while step + 1 < len(_FLAGS) and _FLAGS[step + 1] <= set(flags):
        step += 1
    allowed = _ASCENDING.index(_LIMITS.get(limit, CpuIsa.AVX512_CORE_AMX))
    if limit == "avx2_vnni_2":
        allowed = 0
    found = _ASCENDING[min(step, allowed)]
    if found is CpuIsa.AVX2 and set(flags) >= _WITHOUT_512 and limit not in _LIMITS:
        return CpuIsa.UNKNOWN
    return found


def isa_of_library(text: str) -> CpuIsa:
    """Return the instruction set that the library's verbose header names."""
    if "AMX" in text:
        # Later ones than AVX10.1 have other kernels.
        return CpuIsa.UNKNOWN if "AVX10.2" in text else CpuIsa.AVX512_CORE_AMX
    if "AVX 10.1" in text or "AVX10.1" in text or ("AVX-512" in text and "float16" in text.replace("bfloat16", "")):
        return CpuIsa.AVX512_CORE_FP16
    if "AVX-512" in text:
        if "Ymm" in text:
            return CpuIsa.UNKNOWN
        return CpuIsa.AVX512_CORE_BF16 if "bfloat16" in text else CpuIsa.AVX512_CORE
    if "float16" in text or not text.startswith(("Intel AVX", "Intel SSE4.1", "Intel 64")) or "AVX10" in text:
        return CpuIsa.UNKNOWN
    return CpuIsa.AVX2
