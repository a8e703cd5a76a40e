//! Two constants from readings: least squares with a prior, robust, not negative.

use crate::tail::{NORMAL_QUANTILE, TAIL_QUANTILE};
use crate::{CalibrationError, Result};

/// Huber's tuning constant: 95 % efficient where the noise is normal.
const HUBER: f64 = 1.345;
/// Tukey's: a reading further than so many scales from the fit counts for nothing.
const TUKEY: f64 = 4.685;
/// From the median of absolute residuals to a normal scale.
const MAD: f64 = 1.482_6;
const ROUNDS: usize = 30;
/// Largest share of a factor's noise that the scale may shrink to: no set of readings makes a formula exact.
const MIN_SCALE: f64 = 0.05;

/// One measurement. Bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Computed bytes that the factor multiplies.
    pub size: f64,
    /// What was measured beyond all that is known exactly: to be explained by `base + factor*size`. May be negative.
    pub target: f64,
}

/// What is believed before any reading, and how loosely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// Bytes that every process pays.
    pub base: f64,
    /// Their standard deviation.
    pub base_deviation: f64,
    /// What a computed byte costs.
    pub factor: f64,
    /// Its standard deviation.
    pub factor_deviation: f64,
    /// Noise of one reading, bytes, whatever its size.
    pub noise: f64,
    /// Noise of one reading for each computed byte.
    pub noise_factor: f64,
    /// Readings that the prior's noise is worth when the scale is estimated.
    pub noise_weight: f64,
}

impl Prior {
    /// What is answered where nothing was measured.
    #[must_use]
    pub const fn unread(&self) -> Fit {
        Fit {
            base: self.base,
            factor: self.factor,
            scale: 1.0,
            effective_count: 0.0,
            covariance: [self.base_deviation * self.base_deviation, 0.0, self.factor_deviation * self.factor_deviation],
            noise: self.noise,
            noise_factor: self.noise_factor,
        }
    }
}

/// Constants, and how well they are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// Bytes that every process pays.
    pub base: f64,
    /// What a computed byte costs.
    pub factor: f64,
    /// Noise of a reading in units of the prior's.
    pub scale: f64,
    /// Readings that counted: the sum of their weights.
    pub effective_count: f64,
    /// Variance of `base`, covariance of the two, variance of `factor`.
    covariance: [f64; 3],
    noise: f64,
    noise_factor: f64,
}

impl Fit {
    /// What is expected for a computed size. Bytes.
    #[must_use]
    pub fn expected(&self, size: f64) -> f64 {
        self.base + self.factor * size
    }

    /// What to add so that 99.5 % of processes stay below: noise and what is not known of the constants, together. Bytes.
    #[must_use]
    pub fn margin(&self, size: f64) -> f64 {
        let noise = self.scale * (self.noise + self.noise_factor * size);
        let [base, both, factor] = self.covariance;
        let known = base + 2.0 * both * size + factor * size * size;
        ((TAIL_QUANTILE * noise).powi(2) + NORMAL_QUANTILE.powi(2) * known.max(0.0)).sqrt()
    }

    /// Variances and covariance of base and factor, for whoever carries a fit elsewhere.
    #[must_use]
    pub const fn covariance(&self) -> [f64; 3] {
        self.covariance
    }
}

/// Fit both constants.
///
/// # Errors
/// [`CalibrationError::ReadingInvalid`], [`CalibrationError::PriorInvalid`].
pub fn fit(readings: &[Reading], prior: &Prior) -> Result<Fit> {
    check(readings, prior)?;
    let noise = |reading: &Reading| prior.noise + prior.noise_factor * reading.size;
    let mut weights = vec![1.0; readings.len()];
    let mut at = (prior.base, prior.factor, 1.0);
    for round in 0..ROUNDS {
        let system = System::of(readings, &weights, prior, at.2);
        let (base, factor) = system.solve();
        let distances: Vec<f64> =
            readings.iter().map(|one| (one.target - base - factor * one.size) / noise(one)).collect();
        let scale = scale(&distances, prior.noise_weight);
        for (weight, distance) in weights.iter_mut().zip(&distances) {
            let far = distance.abs() / scale;
            *weight = if round < ROUNDS / 3 { huber(far) } else { tukey(far) };
        }
        at = (base, factor, scale);
    }
    let system = System::of(readings, &weights, prior, at.2);
    let (base, factor) = system.solve();
    Ok(Fit {
        base,
        factor,
        scale: at.2,
        effective_count: weights.iter().sum(),
        covariance: system.inverse(),
        noise: prior.noise,
        noise_factor: prior.noise_factor,
    })
}

fn huber(far: f64) -> f64 {
    if far <= HUBER { 1.0 } else { HUBER / far }
}

fn tukey(far: f64) -> f64 {
    let inside = 1.0 - (far / TUKEY).powi(2);
    if inside <= 0.0 { 0.0 } else { inside * inside }
}

/// The readings' noise in units of the prior's: the median distance, drawn towards 1 by as many readings as the prior is worth.
fn scale(distances: &[f64], prior_weight: f64) -> f64 {
    let mut sizes: Vec<f64> = distances.iter().map(|distance| distance.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let middle = sizes.len() / 2;
    let Some(&median) = sizes.get(middle) else { return 1.0 };
    #[allow(clippy::cast_precision_loss, reason = "a window of readings is short")]
    let count = sizes.len() as f64;
    let spread = median * MAD;
    let pooled = (prior_weight + count * spread * spread) / (prior_weight + count);
    pooled.sqrt().max(MIN_SCALE)
}

/// The normal equations of both constants, prior included.
struct System {
    base: f64,
    both: f64,
    factor: f64,
    base_target: f64,
    factor_target: f64,
}

impl System {
    fn of(readings: &[Reading], weights: &[f64], prior: &Prior, scale: f64) -> Self {
        let (base, factor) = (prior.base_deviation.powi(-2), prior.factor_deviation.powi(-2));
        let (base_target, factor_target) = (base * prior.base, factor * prior.factor);
        let mut system = Self { base, both: 0.0, factor, base_target, factor_target };
        for (one, weight) in readings.iter().zip(weights) {
            let precision = weight * (scale * (prior.noise + prior.noise_factor * one.size)).powi(-2);
            system.base += precision;
            system.both += precision * one.size;
            system.factor += precision * one.size * one.size;
            system.base_target += precision * one.target;
            system.factor_target += precision * one.size * one.target;
        }
        system
    }

    /// The minimum with neither constant negative: inside, or on one of the two edges.
    fn solve(&self) -> (f64, f64) {
        let determinant = self.determinant();
        let base = (self.factor * self.base_target - self.both * self.factor_target) / determinant;
        let factor = (self.base * self.factor_target - self.both * self.base_target) / determinant;
        if base >= 0.0 && factor >= 0.0 {
            return (base, factor);
        }
        let edges =
            [(0.0, (self.factor_target / self.factor).max(0.0)), ((self.base_target / self.base).max(0.0), 0.0)];
        let [first, second] = edges;
        if self.loss(first) <= self.loss(second) { first } else { second }
    }

    fn loss(&self, (base, factor): (f64, f64)) -> f64 {
        self.base * base * base + 2.0 * self.both * base * factor + self.factor * factor * factor
            - 2.0 * (self.base_target * base + self.factor_target * factor)
    }

    /// Above 0: the prior's precisions are.
    fn determinant(&self) -> f64 {
        self.base * self.factor - self.both * self.both
    }

    fn inverse(&self) -> [f64; 3] {
        let determinant = self.determinant();
        [self.factor / determinant, -self.both / determinant, self.base / determinant]
    }
}

fn check(readings: &[Reading], prior: &Prior) -> Result<()> {
    let positive = [
        ("base deviation", prior.base_deviation),
        ("factor deviation", prior.factor_deviation),
        ("noise", prior.noise),
        ("noise weight", prior.noise_weight),
    ];
    for (what, value) in positive {
        if !value.is_finite() || value <= 0.0 {
            return Err(CalibrationError::PriorInvalid { what, value });
        }
    }
    for (what, value) in [("base", prior.base), ("factor", prior.factor), ("noise factor", prior.noise_factor)] {
        if !value.is_finite() || value < 0.0 {
            return Err(CalibrationError::PriorInvalid { what, value });
        }
    }
    for (index, one) in readings.iter().enumerate() {
        if !one.size.is_finite() || one.size < 0.0 {
            return Err(CalibrationError::ReadingInvalid { index, what: "size", value: one.size, least: 0.0 });
        }
        if !one.target.is_finite() {
            return Err(CalibrationError::ReadingInvalid { index, what: "target", value: one.target, least: f64::MIN });
        }
    }
    Ok(())
}
