//! Numbers of 16 bits for states at rest.

/// How a stream's state is kept between steps; it is always computed in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// 4 bytes, exact.
    F32,
    /// 2 bytes, IEEE binary16: absolute error at most 2.5e-4 of a state.
    F16,
    /// 2 bytes, bfloat16: absolute error at most 2e-3 of a state.
    Bf16,
}

impl Store {
    /// Bytes of a value.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// The name: `fp32`, `fp16` or `bf16`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "fp32",
            Self::F16 => "fp16",
            Self::Bf16 => "bf16",
        }
    }

    /// The store of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::F32, Self::F16, Self::Bf16].into_iter().find(|store| store.name() == name)
    }
}

/// Round to nearest, ties to even. Takes any finite value up to 65504, and states are at most 1.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the bits above 16 are zero")]
pub fn to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    // Below 2^-14 the spacing is 2^-24: adding 0.5, whose spacing is the same, rounds as binary16 does.
    let small = (f32::from_bits(magnitude) + 0.5).to_bits() - 0.5_f32.to_bits();
    let tie = (magnitude >> 13) & 1;
    let normal = magnitude.wrapping_add(0xfff + tie).wrapping_sub(112 << 23) >> 13;
    let rounded = if magnitude < (113 << 23) { small } else { normal };
    (sign | rounded) as u16
}

/// Exact.
#[inline]
pub fn from_f16(half: u16) -> f32 {
    let bits = u32::from(half);
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits(239 << 23);
    f32::from_bits(magnitude.to_bits() | ((bits & 0x8000) << 16))
}

/// Round to nearest, ties to even, of a finite value.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the upper half of 32 bits")]
pub const fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// Exact.
#[inline]
pub const fn from_bf16(half: u16) -> f32 {
    f32::from_bits((half as u32) << 16)
}

#[cfg(test)]
mod tests {
    use super::{from_bf16, from_f16, to_bf16, to_f16};

    /// Every finite binary16 number, by its definition.
    fn value(half: u16) -> f32 {
        let (exponent, fraction) = (i32::from((half >> 10) & 31), f32::from(half & 1023));
        let magnitude =
            if exponent == 0 { fraction * 2_f32.powi(-24) } else { (1024.0 + fraction) * 2_f32.powi(exponent - 25) };
        if half & 0x8000 == 0 { magnitude } else { -magnitude }
    }

    #[test]
    fn every_binary16_number_comes_back() {
        for half in (0..0x7c00_u16).chain(0x8000..0xfc00) {
            assert_eq!(from_f16(half).to_bits(), value(half).to_bits());
            assert_eq!(to_f16(value(half)), half);
        }
    }

    #[test]
    fn what_lies_between_is_rounded_to_the_nearest_and_ties_to_even() {
        for half in 0..0x3c00_u16 {
            let (low, high) = (value(half), value(half + 1));
            let middle = f32::midpoint(low, high);
            let even = if half % 2 == 0 { half } else { half + 1 };
            assert_eq!(to_f16(middle), even);
            assert_eq!(to_f16(middle.next_down()), half);
            assert_eq!(to_f16(middle.next_up()), half + 1);
        }
    }

    #[test]
    fn bfloat16_rounds_to_the_nearest() {
        for half in 0..0x3f80_u16 {
            assert_eq!(to_bf16(from_bf16(half)), half);
            let middle = f32::from_bits((u32::from(half) << 16) | 0x8000);
            assert_eq!(to_bf16(middle), if half % 2 == 0 { half } else { half + 1 });
            assert_eq!(to_bf16(middle.next_up()), half + 1);
        }
    }
}
