//! Readouts against what is known, and what they refuse.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use readout::{ReadoutError, Recursive, Regularisation, Ridge};

/// Numbers in [-1, 1) without a pattern.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).unwrap()) / 32768.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn close(one: f64, other: f64, tolerance: f64) {
    assert!((one - other).abs() <= tolerance, "{one} {other}");
}

#[test]
fn weights_and_bias_of_a_line_come_back() {
    let states = noise(600, 1);
    let truth = [[0.5_f32, -2.0, 1.0], [3.0, 0.25, -1.0]];
    let targets: Vec<f32> =
        states.chunks_exact(3).flat_map(|x| truth.map(|w| w[0] * x[0] + w[1] * x[1] + w[2] * x[2] + 0.75)).collect();
    for how in [Regularisation::Fixed(0.0), Regularisation::CrossValidated] {
        let fitted = Ridge::fit(&states, 3, &targets, 2, how).unwrap();
        for (found, wanted) in fitted.weights().iter().zip(truth.as_flattened()) {
            close(*found, f64::from(*wanted), 1e-6);
        }
        fitted.bias().iter().for_each(|bias| close(*bias, 0.75, 1e-6));
        let mut out = vec![0.0; targets.len()];
        fitted.predict(&states, &mut out).unwrap();
        out.iter().zip(&targets).for_each(|(a, b)| close(f64::from(*a), f64::from(*b), 1e-5));
    }
}

#[test]
fn ridge_holds_weights_back_as_the_formula_says() {
    // One feature: w = sum(x y) / (sum(x^2) + l) of centred data.
    let states = [1.0, 2.0, 3.0, 6.0];
    let targets = [1.0, 0.0, 2.0, 5.0];
    let fitted = Ridge::fit(&states, 1, &targets, 1, Regularisation::Fixed(2.0)).unwrap();
    close(fitted.weights()[0], 13.0 / (14.0 + 2.0), 1e-12);
    close(fitted.bias()[0], 2.0 - 3.0 * 13.0 / 16.0, 1e-12);
}

#[test]
fn cross_validation_agrees_with_leaving_one_out_by_hand() {
    // The score of every candidate, computed from the hat matrix row by row, is least at the one that was chosen.
    let (count, features) = (60, 12);
    let states = noise(count * features, 5);
    let extra = noise(count, 6);
    let targets: Vec<f32> = states.chunks_exact(features).zip(&extra).map(|(x, e)| x[0] - x[1] + 0.8 * e).collect();
    let best = Ridge::fit(&states, features, &targets, 1, Regularisation::CrossValidated).unwrap();
    let score = |ridge: f64| {
        let mut degrees = 1.0;
        let fitted = Ridge::fit(&states, features, &targets, 1, Regularisation::Fixed(ridge)).unwrap();
        let mut out = vec![0.0; count];
        fitted.predict(&states, &mut out).unwrap();
        for row in 0..count {
            // d(prediction)/d(target) of the row: predictions are linear in the targets.
            let mut unit = vec![0.0; count];
            unit[row] = 1.0;
            let mut influence = vec![0.0; count];
            let one = Ridge::fit(&states, features, &unit, 1, Regularisation::Fixed(ridge)).unwrap();
            one.predict(&states, &mut influence).unwrap();
            degrees += f64::from(influence[row]);
        }
        let residual: f64 = out.iter().zip(&targets).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        // The bias is in the influence already.
        (residual / (60.0 - (degrees - 1.0)).powi(2), degrees - 1.0)
    };
    let (chosen, degrees) = score(best.regularisation());
    close(best.degrees().unwrap(), degrees, 1e-4);
    for factor in [0.05, 0.3, 0.56, 1.78, 3.0, 20.0] {
        assert!(score(best.regularisation() * factor).0 >= chosen * (1.0 - 1e-6), "{factor}");
    }
}

#[test]
fn recursive_least_squares_ends_where_ridge_does() {
    let states = noise(4 * 500, 9);
    let extra = noise(500, 10);
    let targets: Vec<f32> =
        states.chunks_exact(4).zip(&extra).map(|(x, e)| x[0] - 0.5 * x[2] + 0.3 + 0.1 * e).collect();
    let batch = Ridge::fit(&states, 4, &targets, 1, Regularisation::Fixed(0.0)).unwrap();
    let mut online = Recursive::new(4, 1, 1.0, 1e8).unwrap();
    for (state, target) in states.chunks_exact(4).zip(targets.chunks_exact(1)) {
        online.update(state, target, &mut [0.0]).unwrap();
    }
    for (found, wanted) in online.weights().iter().zip(batch.weights().iter().chain(batch.bias())) {
        close(*found, *wanted, 1e-5);
    }
    assert_eq!(online.updates(), 500);
}

#[test]
fn forgetting_follows_a_change() {
    let states = noise(2 * 2000, 11);
    let mut online = Recursive::new(2, 1, 0.98, 100.0).unwrap();
    for (row, state) in states.chunks_exact(2).enumerate() {
        let target = if row < 1000 { state[0] } else { -state[0] + 2.0 * state[1] };
        online.update(state, &[target], &mut [0.0]).unwrap();
    }
    for (found, wanted) in online.weights().iter().zip([-1.0, 2.0, 0.0]) {
        close(*found, wanted, 1e-4);
    }
}

#[test]
fn silence_does_not_wind_up() {
    let mut online = Recursive::new(3, 1, 0.9, 1.0).unwrap();
    for _ in 0..10_000 {
        online.update(&[0.0; 3], &[1.0], &mut [0.0]).unwrap();
    }
    let mut out = [0.0];
    online.update(&[1.0, -1.0, 1.0], &[2.0], &mut out).unwrap();
    close(f64::from(out[0]), 1.0, 1e-3);
    assert!(online.weights().iter().all(|weight| weight.is_finite() && weight.abs() < 10.0));
}

#[test]
fn a_singular_readout_is_refused() {
    let twice: Vec<f32> = noise(50, 2).iter().flat_map(|x| [*x, *x]).collect();
    let targets = noise(50, 3);
    let refused = Ridge::fit(&twice, 2, &targets, 1, Regularisation::Fixed(0.0));
    assert_eq!(refused, Err(ReadoutError::Singular { feature: 1 }));
    assert!(Ridge::fit(&twice, 2, &targets, 1, Regularisation::CrossValidated).is_ok());
    let silent = Ridge::fit(&[0.0; 100], 2, &targets, 1, Regularisation::CrossValidated);
    assert_eq!(silent, Err(ReadoutError::Singular { feature: 0 }));
}

#[test]
fn features_that_nearly_depend_on_each_other_are_fitted() {
    // Sixty powers of one value: far beyond what f64 can tell apart.
    let values = noise(400, 13);
    let states: Vec<f32> = values.iter().flat_map(|x| (1..=60).map(move |power| x.powi(power))).collect();
    let targets: Vec<f32> = values.iter().map(|x| (5.0 * x).sin()).collect();
    let fitted = Ridge::fit(&states, 60, &targets, 1, Regularisation::CrossValidated).unwrap();
    let mut out = vec![0.0; 400];
    fitted.predict(&states, &mut out).unwrap();
    out.iter().zip(&targets).for_each(|(a, b)| close(f64::from(*a), f64::from(*b), 1e-3));
}

#[test]
fn bad_numbers_are_refused() {
    let how = Regularisation::CrossValidated;
    let nan = Ridge::fit(&[1.0, f32::NAN, 0.0, 2.0], 2, &[1.0, 2.0], 1, how);
    assert!(matches!(nan, Err(ReadoutError::NotFinite { name: "states", row: 0, column: 1, .. })));
    let infinite = Ridge::fit(&[1.0; 4], 2, &[1.0, f32::INFINITY], 1, how);
    assert!(matches!(infinite, Err(ReadoutError::NotFinite { name: "targets", row: 1, column: 0, .. })));
    assert!(matches!(Ridge::fit(&[1.0; 3], 2, &[1.0; 2], 1, how), Err(ReadoutError::Width { .. })));
    assert!(matches!(Ridge::fit(&[1.0; 4], 2, &[1.0; 3], 1, how), Err(ReadoutError::Width { .. })));
    assert!(matches!(Ridge::fit(&[1.0], 1, &[1.0], 1, how), Err(ReadoutError::TooFewRows { .. })));
    for value in [-1.0, f64::NAN] {
        let refused = Ridge::fit(&[1.0, 2.0], 1, &[1.0, 2.0], 1, Regularisation::Fixed(value));
        assert!(matches!(refused, Err(ReadoutError::Setting { .. })));
        assert!(matches!(Recursive::new(1, 1, value, 1.0), Err(ReadoutError::Setting { .. })));
        assert!(matches!(Recursive::new(1, 1, 1.0, value), Err(ReadoutError::Setting { .. })));
    }
    let mut online = Recursive::new(2, 1, 1.0, 1.0).unwrap();
    assert!(online.update(&[1.0, f32::NAN], &[1.0], &mut [0.0]).is_err());
    assert!(online.update(&[1.0, 1.0], &[f32::NAN], &mut [0.0]).is_err());
    assert!(online.update(&[1.0], &[1.0], &mut [0.0]).is_err());
    assert_eq!(online.updates(), 0);
}
