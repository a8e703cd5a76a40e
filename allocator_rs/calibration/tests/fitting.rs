//! Constants that are known are found again; one bad reading moves nothing; bounds hold for heavy tails.
#![allow(clippy::unwrap_used, clippy::float_cmp, clippy::cast_precision_loss, reason = "a test that fails, fails")]

use calibration::{CalibrationError, Prior, Reading, fit};
use proptest::prelude::*;

const MIB: f64 = 1_048_576.0;

fn prior() -> Prior {
    Prior {
        base: 16.0 * MIB,
        base_deviation: 16.0 * MIB,
        factor: 1.75,
        factor_deviation: 0.5,
        noise: 4.0 * MIB,
        noise_factor: 0.05,
        noise_weight: 4.0,
    }
}

fn line(base: f64, factor: f64) -> Vec<Reading> {
    (0..20).map(|n| f64::from(n) * 20.0 * MIB).map(|size| Reading { size, target: base + factor * size }).collect()
}

/// Without readings the prior answers, and its own bound with it.
#[test]
fn no_reading_leaves_the_prior() {
    let found = fit(&[], &prior()).unwrap();
    assert!((found.base - 16.0 * MIB).abs() < 1e-3 && (found.factor - 1.75).abs() < 1e-12);
    assert_eq!(found.effective_count, 0.0);
    assert!(found.margin(0.0) > 2.5 * 16.0 * MIB);
    assert_eq!(found.margin(MIB), prior().unread().margin(MIB));
}

/// A line that the readings lie on is found.
#[test]
fn constants_are_found_again() {
    let found = fit(&line(9.0 * MIB, 1.1), &prior()).unwrap();
    assert!((found.base - 9.0 * MIB).abs() < 0.5 * MIB, "{found:?}");
    assert!((found.factor - 1.1).abs() < 0.01, "{found:?}");
    assert!(found.margin(100.0 * MIB) < fit(&[], &prior()).unwrap().margin(100.0 * MIB) / 4.0);
}

/// One wild reading, in either direction, moves the expectation by next to nothing.
#[test]
fn one_bad_reading_is_left_out() {
    let clean = fit(&line(9.0 * MIB, 1.1), &prior()).unwrap();
    for wild in [4_000.0 * MIB, -500.0 * MIB] {
        let mut readings = line(9.0 * MIB, 1.1);
        readings.push(Reading { size: 200.0 * MIB, target: wild });
        let found = fit(&readings, &prior()).unwrap();
        assert!((found.expected(300.0 * MIB) / clean.expected(300.0 * MIB) - 1.0).abs() < 0.01, "{wild}: {found:?}");
    }
}

/// Readings of tiny batches teach the base and leave the factor, and its uncertainty, to the prior.
#[test]
fn small_batches_say_nothing_of_the_factor() {
    let readings: Vec<_> = (0..50).map(|_| Reading { size: 0.01 * MIB, target: 9.0 * MIB }).collect();
    let found = fit(&readings, &prior()).unwrap();
    assert!((found.base - 9.0 * MIB).abs() < 0.2 * MIB, "{found:?}");
    assert!((found.factor - 1.75).abs() < 0.01, "{found:?}");
    assert!(found.margin(1_000.0 * MIB) > 1_000.0 * MIB, "what was never exercised stays wide");
}

/// Numbers that are none are refused, with their place.
#[test]
fn bad_numbers_are_refused() {
    let bad = fit(&[Reading { size: f64::NAN, target: 0.0 }], &prior());
    assert!(matches!(bad, Err(CalibrationError::ReadingInvalid { index: 0, what: "size", .. })));
    let bad = fit(&[], &Prior { noise: 0.0, ..prior() });
    assert!(matches!(bad, Err(CalibrationError::PriorInvalid { what: "noise", .. })));
}

proptest! {
    /// Whatever the readings: constants are finite and not negative, and the bound lies above the expectation.
    #[test]
    fn constants_are_never_negative(rows in prop::collection::vec((0.0..1e12_f64, -1e12..1e12_f64), 0..40)) {
        let readings: Vec<_> = rows.into_iter().map(|(size, target)| Reading { size, target }).collect();
        let found = fit(&readings, &prior()).unwrap();
        prop_assert!(found.base.is_finite() && found.base >= 0.0);
        prop_assert!(found.factor.is_finite() && found.factor >= 0.0);
        prop_assert!(found.margin(1e9).is_finite() && found.margin(1e9) > 0.0);
        prop_assert!(found.margin(1e10) >= 0.0);
    }

    /// The order of the readings does not matter beyond rounding.
    #[test]
    fn order_does_not_matter(noise in prop::collection::vec(-3.0..3.0_f64, 20)) {
        let mut readings = line(9.0 * MIB, 1.1);
        for (one, noise) in readings.iter_mut().zip(noise) {
            one.target += noise * MIB;
        }
        let forward = fit(&readings, &prior()).unwrap();
        readings.reverse();
        let backward = fit(&readings, &prior()).unwrap();
        prop_assert!((forward.base - backward.base).abs() < 1.0);
        prop_assert!((forward.factor - backward.factor).abs() < 1e-6);
    }
}
