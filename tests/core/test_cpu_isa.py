"""The instruction set by the CPU's flags and the library's variable, and by the library's own words."""

from __future__ import annotations

import pytest

from echoplaned.core.cpu_isa import CpuIsa, isa_of_cpu, isa_of_library

HASWELL = "fma avx avx2 bmi2"
SKYLAKE = f"{HASWELL} avx512f avx512bw avx512vl avx512dq avx512cd"
CASCADE_LAKE = f"{SKYLAKE} avx512_vnni"
ZEN_4 = f"{CASCADE_LAKE} avx512_bf16"
GRANITE_WITHOUT_TILES = f"{ZEN_4} avx512_fp16 avx_vnni"
SAPPHIRE_RAPIDS = f"{GRANITE_WITHOUT_TILES} amx_bf16 amx_tile amx_int8"
LUNAR_LAKE = f"{HASWELL} avx_vnni avx_vnni_int8 avx_ne_convert"


def cpuinfo(flags: str) -> str:
    """Return the kernel's text for one core."""
    return f"processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu {flags} sse4_1\nbugs\t\t: none\n"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("sse4_2", CpuIsa.AVX2),
        (HASWELL, CpuIsa.AVX2),
        (SKYLAKE, CpuIsa.AVX512_CORE),
        (CASCADE_LAKE, CpuIsa.AVX512_CORE),
        (ZEN_4, CpuIsa.AVX512_CORE_BF16),
        (f"{ZEN_4} avx512_fp16", CpuIsa.AVX512_CORE_BF16),
        (GRANITE_WITHOUT_TILES, CpuIsa.AVX512_CORE_FP16),
        (SAPPHIRE_RAPIDS, CpuIsa.AVX512_CORE_AMX),
        (LUNAR_LAKE, CpuIsa.UNKNOWN),
    ],
)
def test_flags_name_the_instruction_set(flags: str, expected: CpuIsa) -> None:
    """Each step needs all flags of those below it, as the library asks for them."""
    assert isa_of_cpu(cpuinfo(flags), {}) is expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("SSE41", CpuIsa.AVX2),
        ("AVX2", CpuIsa.AVX2),
        ("avx2_vnni_2", CpuIsa.AVX2),
        ("AVX512_CORE", CpuIsa.AVX512_CORE),
        ("AVX512_CORE_VNNI", CpuIsa.AVX512_CORE),
        ("AVX512_CORE_BF16", CpuIsa.AVX512_CORE_BF16),
        ("AVX512_CORE_FP16", CpuIsa.AVX512_CORE_FP16),
        ("AVX10_1_512", CpuIsa.AVX512_CORE_FP16),
        ("AVX512_CORE_AMX", CpuIsa.AVX512_CORE_AMX),
        ("DEFAULT", CpuIsa.AVX512_CORE_AMX),
        ("nonsense", CpuIsa.AVX512_CORE_AMX),
        ("", CpuIsa.AVX512_CORE_AMX),
    ],
)
def test_the_variable_limits_it(limit: str, expected: CpuIsa) -> None:
    """Either variable's name and any case of its value do; the first name counts, and no limit raises what the CPU has."""
    assert isa_of_cpu(cpuinfo(SAPPHIRE_RAPIDS), {"ONEDNN_MAX_CPU_ISA": limit}) is expected
    assert isa_of_cpu(cpuinfo(SAPPHIRE_RAPIDS), {"DNNL_MAX_CPU_ISA": limit}) is expected
    both = {"ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": limit}
    assert isa_of_cpu(cpuinfo(SAPPHIRE_RAPIDS), both) is CpuIsa.AVX2
    assert isa_of_cpu(cpuinfo(HASWELL), {"ONEDNN_MAX_CPU_ISA": limit}) is CpuIsa.AVX2


def test_another_makers_cpu_is_not_known() -> None:
    """ARM's file has other words, and no file at all has none."""
    assert isa_of_cpu("processor\t: 0\nFeatures\t: fp asimd bf16 sve\n", {}) is CpuIsa.UNKNOWN
    assert isa_of_cpu("", {}) is CpuIsa.UNKNOWN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Intel SSE4.1", CpuIsa.AVX2),
        ("Intel AVX", CpuIsa.AVX2),
        ("Intel AVX2", CpuIsa.AVX2),
        ("Intel AVX2 with Intel DL Boost", CpuIsa.AVX2),
        ("Intel AVX2 with Intel DL Boost, float16 and bfloat16 support", CpuIsa.UNKNOWN),
        ("Intel AVX-512 with AVX512BW, AVX512VL, and AVX512DQ extensions", CpuIsa.AVX512_CORE),
        ("Intel AVX-512 with Intel DL Boost", CpuIsa.AVX512_CORE),
        ("Intel AVX-512 with Intel DL Boost and bfloat16 support", CpuIsa.AVX512_CORE_BF16),
        ("Intel AVX-512 with Intel DL Boost and bfloat16 support on Ymm/Zmm", CpuIsa.UNKNOWN),
        ("Intel AVX-512 with float16, Intel DL Boost and bfloat16 support", CpuIsa.AVX512_CORE_FP16),
        ("Intel AVX 10.1", CpuIsa.AVX512_CORE_FP16),
        ("Intel AVX10.1 and Intel AMX with bfloat16 and 8-bit integer support", CpuIsa.AVX512_CORE_AMX),
        ("Intel AVX10.1 and Intel AMX with bfloat16, float16 and 8-bit integer support", CpuIsa.AVX512_CORE_AMX),
        ("Intel AVX10.2", CpuIsa.UNKNOWN),
        ("AArch64 SVE (256 bits)", CpuIsa.UNKNOWN),
        ("", CpuIsa.UNKNOWN),
    ],
)
def test_the_librarys_words_name_it(text: str, expected: CpuIsa) -> None:
    """What oneDNN 3.13 (and 3.7, in one line) calls its instruction sets; what it is not known to say is UNKNOWN."""
    assert isa_of_library(text) is expected
