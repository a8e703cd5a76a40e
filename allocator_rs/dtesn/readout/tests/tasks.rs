//! Published tasks: reservoir and readout together.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use network::{Config, Network};
use readout::{Regularisation, Ridge};
use reservoir::CLASSES;

const WASHOUT: usize = 200;
const TRAIN: usize = 3000;
const TEST: usize = 2000;

/// Uniform in [0, 1).
struct Uniform(u64);

impl Iterator for Uniform {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(f64::from(u32::try_from(self.0 >> 32).unwrap()) / 4_294_967_296.0)
    }
}

/// Inputs and targets of NARMA-10 (Atiya, Parlos 2000); None where the series diverges.
fn narma(seed: u64, count: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    let inputs: Vec<f64> = Uniform(seed).skip(10).take(count).map(|value| 0.5 * value).collect();
    let mut series = vec![0.0_f64; count + 1];
    for t in 9..count {
        let window: f64 = series[t - 9..=t].iter().sum();
        series[t + 1] = 0.3 * series[t] + 0.05 * series[t] * window + 1.5 * inputs[t - 9] * inputs[t] + 0.1;
    }
    let stays = series.iter().all(|value| value.abs() < 2.0);
    stays.then(|| (inputs, series[1..].to_vec()))
}

#[allow(clippy::cast_possible_truncation, reason = "the reservoir is f32")]
fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

/// Normalised mean squared error of a readout that is fitted on the first part and tried on the second.
fn error(config: &Config, inputs: &[f64], targets: &[f64]) -> f64 {
    let network = Network::new(config).unwrap();
    let units = network.units();
    let mut states = vec![0.0; inputs.len() * units];
    network.run(&mut vec![0.0; units], &narrow(inputs), &[1.0], Some(&mut states)).unwrap();
    let targets = narrow(targets);
    let split = WASHOUT + TRAIN;
    let train = &states[WASHOUT * units..split * units];
    let fitted = Ridge::fit(train, units, &targets[WASHOUT..split], 1, Regularisation::CrossValidated).unwrap();
    let mut out = vec![0.0; inputs.len() - split];
    fitted.predict(&states[split * units..], &mut out).unwrap();
    let wanted = &targets[split..];
    let mean =
        wanted.iter().map(|value| f64::from(*value)).sum::<f64>() / f64::from(u32::try_from(wanted.len()).unwrap());
    let variance: f64 = wanted.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum();
    let residual: f64 = out.iter().zip(wanted).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    residual / variance
}

#[test]
fn narma_10_is_followed() {
    let mut errors = Vec::new();
    let mut diverged = 0_u32;
    for draw in 0.. {
        if errors.len() == 20 {
            break;
        }
        let Some((inputs, targets)) = narma(draw, WASHOUT + TRAIN + TEST) else {
            diverged += 1;
            continue;
        };
        let config = Config { leak: 1.0, seed: draw, ..Config::of_class(&CLASSES[0], 1) };
        errors.push(error(&config, &inputs, &targets));
    }
    let mean = errors.iter().sum::<f64>() / 20.0;
    println!("NARMA-10: mean {mean:.4}, {errors:.4?}, {diverged} diverging draws left out");
    assert!(mean < 0.035, "{mean} {errors:?}");
}
