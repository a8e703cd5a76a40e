//! The instruction set that the matrix library (oneDNN) computes with: it decides which copies a product makes.

/// An instruction set, by what the library's kernels do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CpuIsa {
    /// AVX2 and older, which leave 16-bit products to torch's own loops.
    Avx2,
    /// AVX-512 without 16-bit arithmetic, VNNI or not.
    Avx512Core,
    /// AVX-512 with BF16 arithmetic.
    Avx512CoreBf16,
    /// AVX-512 with BF16 and FP16 arithmetic (AVX10.1), without tiles.
    Avx512CoreFp16,
    /// Tiles (AMX), whatever else there is.
    Amx,
    /// Not known, or another maker's: the largest bound of all.
    #[default]
    Unknown,
}

impl CpuIsa {
    /// All, with their names: the library's own where it has one.
    pub const ALL: [(&'static str, Self); 6] = [
        ("AVX2", Self::Avx2),
        ("AVX512_CORE", Self::Avx512Core),
        ("AVX512_CORE_BF16", Self::Avx512CoreBf16),
        ("AVX512_CORE_FP16", Self::Avx512CoreFp16),
        ("AVX512_CORE_AMX", Self::Amx),
        ("UNKNOWN", Self::Unknown),
    ];

    /// Read a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, isa)| isa)
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, isa)| *isa == self).map_or("", |(name, _)| name)
    }

    /// Whether steps were compared with torch's allocation events on such a machine, or under its setting.
    #[must_use]
    pub const fn is_measured(self) -> bool {
        matches!(self, Self::Avx2 | Self::Avx512Core | Self::Avx512CoreBf16)
    }
}
