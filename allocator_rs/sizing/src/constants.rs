//! What an engine's process needs that no formula of a model gives: fitted to measurements, and what is believed without any.

use calibration::{Fit, Prior};

/// Serving, beyond all that a formula gives: a base for each process, and what glibc's heap keeps of freed temporaries for each byte of
/// them, set as workers have it in service.
///
/// Measured on CPU: slack 35 to 80 % of the temporaries (19 runs of ten models).
pub const SERVING: Prior = Prior {
    base: 2.0 * MIB,
    base_deviation: 4.0 * MIB,
    factor: 0.55,
    factor_deviation: 0.15,
    noise: 2.0 * MIB,
    noise_factor: 0.05,
    noise_weight: 4.0,
};

/// The same where the heap hands every freed block of 64 KiB or more back at once, as it is set for measurements.
pub const SERVING_TRIMMED: Prior = Prior {
    base: 1.0 * MIB,
    base_deviation: 2.0 * MIB,
    factor: 0.0,
    factor_deviation: 0.02,
    noise: 1.0 * MIB,
    noise_factor: 0.01,
    noise_weight: 4.0,
};

/// Loading: what is mapped or copied beyond stored bytes, result and tokenizer, for each byte of the first two.
pub const LOADING: Prior = Prior {
    base: 2.0 * MIB,
    base_deviation: 4.0 * MIB,
    factor: 0.0,
    factor_deviation: 0.02,
    noise: 2.0 * MIB,
    noise_factor: 0.005,
    noise_weight: 4.0,
};

/// A foreign engine's processes, beyond their weights, cache and step: interpreters and libraries, supervisor included.
///
/// Believed so loosely that the first reading decides: 60 MB of one process in C++, 3 GB of three in Python.
pub const PROCESSES: Prior = Prior {
    base: 512.0 * MIB,
    base_deviation: 4096.0 * MIB,
    factor: 0.0,
    factor_deviation: 1e-6,
    noise: 32.0 * MIB,
    noise_factor: 0.0,
    noise_weight: 4.0,
};

const MIB: f64 = 1_048_576.0;

/// Constants of one engine in one version on one device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constants {
    /// Of a process that serves; its size is the temporaries'.
    pub serving: Fit,
    /// Of a process that loads; its size is that of the stored bytes and the weights together.
    pub loading: Fit,
}

impl Default for Constants {
    fn default() -> Self {
        Self { serving: SERVING.unread(), loading: LOADING.unread() }
    }
}

/// An amount of bytes and its upper bound, from computed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Expected.
    pub bytes: u64,
    /// One-sided 99.5 % bound.
    pub upper_bytes: u64,
}

/// What a process pays whatever it computes.
#[must_use]
pub fn base(fit: &Fit) -> Bound {
    Bound { bytes: whole(fit.base), upper_bytes: whole(fit.base + fit.margin(0.0)) }
}

/// What it pays for `size` computed bytes, beside the base.
#[must_use]
pub fn share(fit: &Fit, size: u64) -> Bound {
    let size = real(size);
    let bytes = fit.factor * size;
    let margin = (fit.margin(size) - fit.margin(0.0)).max(0.0);
    Bound { bytes: whole(bytes), upper_bytes: whole(bytes + margin) }
}

#[allow(clippy::cast_precision_loss, reason = "a byte count beyond 2^53 is no model's")]
fn real(bytes: u64) -> f64 {
    bytes as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "negative becomes 0, too large the largest")]
fn whole(bytes: f64) -> u64 {
    bytes.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bound lies above its expectation, and a larger size needs more.
    #[test]
    fn bounds_lie_above() {
        let fit = Constants::default().serving;
        for size in [0, 1, 1 << 20, 1 << 40, u64::MAX] {
            let bound = share(&fit, size);
            assert!(bound.upper_bytes >= bound.bytes);
            assert!(share(&fit, size / 2).upper_bytes <= bound.upper_bytes);
        }
        assert_eq!(base(&fit).bytes, 2 << 20);
    }
}
