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
    /// 8-bit floats, one fp32 scale a block of 128 by 128.
    Fp8,
    /// 4 bit in blocks of 64 with an fp32 scale each (bitsandbytes NF4 and FP4).
    Nf4,
    /// As [`WeightDtype::Nf4`], the scales quantised in their turn.
    Nf4Double,
    /// 4 bit in groups of 128 inputs with a 16-bit scale and a 4-bit zero each (GPTQ, AWQ).
    Int4,
    /// A type of the GGUF format, for every matrix.
    Gguf(&'static gguf::Kind),
    /// As files hold them, in a format of this name: nothing is converted to it, so that sizes come from the files or their config.
    Packed(&'static str),
}

/// Names of formats that are only read.
const PACKED: [&str; 21] = [
    "INT2_GROUPED",
    "INT3_GROUPED",
    "INT4_GROUPED",
    "INT5_GROUPED",
    "INT6_GROUPED",
    "INT8_GROUPED",
    "INT8_ROWS",
    "MXFP4_ROWS",
    "TERNARY",
    "PACKED",
    "Q2_K_S",
    "Q3_K_S",
    "Q3_K_M",
    "Q3_K_L",
    "Q4_K_S",
    "Q4_K_M",
    "Q5_K_S",
    "Q5_K_M",
    "IQ2_M",
    "IQ3_XS",
    "IQ3_M",
];

const WEIGHTS: [(&str, WeightDtype); 10] = [
    ("FP32", WeightDtype::Fp32),
    ("BF16", WeightDtype::Bf16),
    ("FP16", WeightDtype::Fp16),
    ("INT8", WeightDtype::Int8),
    ("FP8", WeightDtype::Fp8),
    ("NF4", WeightDtype::Nf4),
    ("NF4_DOUBLE", WeightDtype::Nf4Double),
    ("INT4_G128", WeightDtype::Int4),
    ("GPTQ", WeightDtype::Int4),
    ("AWQ", WeightDtype::Int4),
];

impl WeightDtype {
    /// Those that the torch engine serves, the most precise first.
    pub const ALL: [Self; 4] = [Self::Fp32, Self::Bf16, Self::Fp16, Self::Int8];

    /// Read the API's name of a dtype, or a GGUF type's.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let known = WEIGHTS.iter().find(|(known, _)| *known == name).map(|(_, dtype)| *dtype);
        let packed = || PACKED.iter().find(|known| **known == name).map(|known| Self::Packed(known));
        known.or_else(|| gguf::Kind::parse(name).map(Self::Gguf)).or_else(packed)
    }

    /// The API's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gguf(kind) => return kind.name,
            Self::Packed(name) => return name,
            _ => {}
        }
        WEIGHTS.iter().find(|(_, dtype)| *dtype == self).map_or("", |(name, _)| *name)
    }

    /// Bytes of one activation, and of one weight that is not quantised. `stored` decides it where weights are quantised.
    #[must_use]
    pub const fn element_bytes(self, stored: Self) -> u64 {
        match (self, stored) {
            (Self::Fp16 | Self::Bf16, _) => 2,
            (Self::Fp32, _) | (_, Self::Fp32) => 4,
            _ => 2,
        }
    }

    /// Whether matrices take fewer bytes than activations.
    #[must_use]
    pub const fn is_quantised(self) -> bool {
        !matches!(self, Self::Fp32 | Self::Fp16 | Self::Bf16)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_read_means_one_format() {
        for name in PACKED {
            assert_eq!(WeightDtype::parse(name), Some(WeightDtype::Packed(name)));
        }
    }
}
