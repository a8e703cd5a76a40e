//! Number formats of activations.

/// What is computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Number {
    /// 32 bit.
    Fp32,
    /// 16 bit.
    Fp16,
    /// 16 bit with FP32's range.
    Bf16,
}
