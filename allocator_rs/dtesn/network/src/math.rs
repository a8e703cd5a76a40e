//! Functions that give the same bits on every machine.

/// No result of [`tanh`] is further from the true value, whatever the argument.
pub const TANH_ERROR: f32 = 4e-7;

/// Beyond it the true value is within 3.1e-8 of 1.
const TANH_LIMIT: f32 = 9.0;
/// Numerator and denominator in x^2 of tanh(x) / x on [0, 9]: a minimax fit of our own, by reweighted least squares.
const NUMERATOR: [f32; 5] = [0.999_999_94, 0.133_766_65, 0.003_490_564, 2.053_229e-5, 1.325_896_2e-8];
const DENOMINATOR: [f32; 5] = [1.0, 0.467_099_73, 0.025_857_475, 0.000_327_767_5, 7.735_142e-7];

/// The hyperbolic tangent, within [`TANH_ERROR`] and inside [-1, 1]; odd, and without branches so that it runs in lanes.
#[inline]
#[must_use]
pub fn tanh(x: f32) -> f32 {
    let x = if x > TANH_LIMIT { TANH_LIMIT } else { x };
    let x = if x < -TANH_LIMIT { -TANH_LIMIT } else { x };
    let z = x * x;
    let [n0, n1, n2, n3, n4] = NUMERATOR;
    let [d0, d1, d2, d3, d4] = DENOMINATOR;
    let numerator = (((n4 * z + n3) * z + n2) * z + n1) * z + n0;
    let denominator = (((d4 * z + d3) * z + d2) * z + d1) * z + d0;
    let y = x * numerator / denominator;
    let y = if y > 1.0 { 1.0 } else { y };
    if y < -1.0 { -1.0 } else { y }
}

const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// exp(x) for x <= 0, relative error below 1e-15; 0 from -700 on.
pub fn exp(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    let power = (x * std::f64::consts::LOG2_E - 0.5).trunc();
    let rest = (x - power * LN_2_HIGH) - power * LN_2_LOW;
    // Taylor's series; |rest| <= 0.35, so the 14th term is below 1e-17.
    let series = (1..=14).rev().fold(1.0, |sum, term| 1.0 + sum * rest / f64::from(term));
    // power is from -1010 to 0: an exact integer, and a normal power of two.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above")]
    let scale = f64::from_bits(((power + 1023.0) as u64) << 52);
    series * scale
}

/// ln(x) for a normal x > 0, error below 1e-15 relative to the larger of 1 and the result.
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = f64::from(u32::try_from(bits >> 52).unwrap_or(0)) - 1023.0;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1.0;
    }
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    // 2 atanh(ratio); |ratio| < 0.172, so the 13th term is below 1e-19.
    let series = (0..13).rev().fold(0.0, |sum, term| sum * square + 1.0 / f64::from(2 * term + 1));
    exponent * LN_2_HIGH + (exponent * LN_2_LOW + 2.0 * ratio * series)
}

#[cfg(test)]
mod tests {
    use super::{TANH_ERROR, exp, ln, tanh};

    #[test]
    fn tanh_keeps_its_error() {
        // One in 61 of all positive floats up to 16, from the subnormals on; the function is odd.
        let worst = (0..=16.0_f32.to_bits())
            .step_by(61)
            .map(f32::from_bits)
            .map(|x| {
                let y = tanh(x);
                assert!(y <= 1.0 && tanh(-x).to_bits() == (-y).to_bits());
                (f64::from(y) - f64::from(x).tanh()).abs()
            })
            .fold(0.0, f64::max);
        assert!(worst <= f64::from(TANH_ERROR), "{worst}");
        assert!((tanh(f32::MAX) - 1.0).abs() <= TANH_ERROR);
        assert!((tanh(f32::INFINITY) - 1.0).abs() <= TANH_ERROR);
    }

    #[test]
    fn exp_and_ln_are_as_good_as_the_library() {
        for step in 0..100_000 {
            let x = -f64::from(step) * 0.007;
            assert!((exp(x) / x.exp() - 1.0).abs() < 2e-15 || x < -700.0, "{x}");
            let y = f64::from(step + 1) / 100_000.0;
            assert!((ln(y) - y.ln()).abs() <= 2e-15 * y.ln().abs().max(1.0), "{y}");
        }
        assert_eq!(exp(0.0).to_bits(), 1.0_f64.to_bits());
        assert_eq!(exp(-1e9).to_bits(), 0);
    }
}
