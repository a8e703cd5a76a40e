//! The quantile of a heavy tail.

/// One-sided 99.5 % quantile of Student's t with 3 degrees of freedom, of unit scale.
///
/// Memory readings have outliers (a collection that did not run, a library that mapped more) far beyond a normal tail; three degrees
/// are the fewest with a finite variance. A normal quantile (2.576) would be passed four times as often as it says.
pub const TAIL_QUANTILE: f64 = 5.840_909;

/// The same of the normal distribution, for what is not known of fitted constants.
pub const NORMAL_QUANTILE: f64 = 2.575_829;

/// [`TAIL_QUANTILE`] by bisection of the closed form of the distribution, for whoever wants to check it.
#[must_use]
pub fn heavy_tail_quantile(level: f64) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1_000.0_f64);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        let root = middle / 3.0_f64.sqrt();
        let below = 0.5 + (root / (1.0 + root * root) + root.atan()) / std::f64::consts::PI;
        if below < level { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The constant is what the distribution says.
    #[test]
    fn constant_is_the_quantile() {
        assert!((heavy_tail_quantile(0.995) - TAIL_QUANTILE).abs() < 1e-6);
        assert!(heavy_tail_quantile(0.5).abs() < 1e-9);
    }
}
