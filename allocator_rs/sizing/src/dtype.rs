//! Dtypes: what files hold, and what an engine can be asked for.

use std::fmt;

/// A dtype of the safetensors format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub enum StoredDtype {
    Bool,
    F4,
    F6E2m3,
    F6E3m2,
    U8,
    I8,
    F8E5m2,
    F8E4m3,
    F8E8m0,
    F8E4m3Fnuz,
    F8E5m2Fnuz,
    I16,
    U16,
    F16,
    Bf16,
    I32,
    U32,
    F32,
    C64,
    F64,
    I64,
    U64,
}

const STORED: [(&str, StoredDtype, u64); 22] = [
    ("BOOL", StoredDtype::Bool, 8),
    ("F4", StoredDtype::F4, 4),
    ("F6_E2M3", StoredDtype::F6E2m3, 6),
    ("F6_E3M2", StoredDtype::F6E3m2, 6),
    ("U8", StoredDtype::U8, 8),
    ("I8", StoredDtype::I8, 8),
    ("F8_E5M2", StoredDtype::F8E5m2, 8),
    ("F8_E4M3", StoredDtype::F8E4m3, 8),
    ("F8_E8M0", StoredDtype::F8E8m0, 8),
    ("F8_E4M3FNUZ", StoredDtype::F8E4m3Fnuz, 8),
    ("F8_E5M2FNUZ", StoredDtype::F8E5m2Fnuz, 8),
    ("I16", StoredDtype::I16, 16),
    ("U16", StoredDtype::U16, 16),
    ("F16", StoredDtype::F16, 16),
    ("BF16", StoredDtype::Bf16, 16),
    ("I32", StoredDtype::I32, 32),
    ("U32", StoredDtype::U32, 32),
    ("F32", StoredDtype::F32, 32),
    ("C64", StoredDtype::C64, 64),
    ("F64", StoredDtype::F64, 64),
    ("I64", StoredDtype::I64, 64),
    ("U64", StoredDtype::U64, 64),
];

impl StoredDtype {
    /// Read the header's name of a dtype.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        STORED.iter().find(|(known, _, _)| *known == name).map(|(_, dtype, _)| *dtype)
    }

    /// Bits of one element.
    #[must_use]
    pub fn bits(self) -> u64 {
        STORED.iter().find(|(_, dtype, _)| *dtype == self).map_or(0, |(_, _, bits)| *bits)
    }

    /// The header's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        STORED.iter().find(|(_, dtype, _)| *dtype == self).map_or("", |(name, _, _)| *name)
    }

    /// The dtype that an engine computes in when it takes such weights as they are.
    #[must_use]
    pub fn as_weight(self) -> Option<WeightDtype> {
        match self {
            Self::F32 => Some(WeightDtype::Fp32),
            Self::F16 => Some(WeightDtype::Fp16),
            Self::Bf16 => Some(WeightDtype::Bf16),
            _ => None,
        }
    }
}

/// A dtype that an engine can be asked to hold the weights in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WeightDtype {
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats (IEEE).
    Fp16,
    /// 16-bit floats (brain).
    Bf16,
    /// 8-bit integers, weight-only, one scale an output row; what is not quantised keeps the stored dtype.
    Int8,
}

impl WeightDtype {
    /// All of them, the most precise first.
    pub const ALL: [Self; 4] = [Self::Fp32, Self::Bf16, Self::Fp16, Self::Int8];

    /// Read the API's name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// The API's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "FP32",
            Self::Fp16 => "FP16",
            Self::Bf16 => "BF16",
            Self::Int8 => "INT8",
        }
    }

    /// Bytes of one activation, and of one weight that is not quantised. `stored` decides it for INT8.
    #[must_use]
    pub const fn element_bytes(self, stored: Self) -> u64 {
        match (self, stored) {
            (Self::Fp32, _) | (Self::Int8, Self::Fp32 | Self::Int8) => 4,
            (Self::Fp16 | Self::Bf16, _) | (Self::Int8, Self::Fp16 | Self::Bf16) => 2,
        }
    }
}

impl fmt::Display for WeightDtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for StoredDtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
