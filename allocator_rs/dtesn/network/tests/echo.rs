//! The update, its stability, and that it gives the same states everywhere.

#![allow(clippy::unreadable_literal, reason = "golden values as they are printed")]
#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use network::{Config, MIN_STEP, Network, NetworkError, UNITS};
use reservoir::{CLASSES, INPUTS, Settings, givens_layers};

/// Inputs that look like telemetry, without a generator: row by row.
fn inputs(rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|place| f32::from(u16::try_from(place * 7919 % 2003).unwrap()) / 1001.0 - 1.0).collect()
}

fn class(number: usize, inputs: usize) -> Network {
    Network::new(&Config::of_class(&CLASSES[number], inputs)).unwrap()
}

#[test]
fn golden_states() {
    // Units 0, 65, 130, … of the state after 100 steps of dt 1, 1/2, 3.
    const GOLDEN: [[f32; 8]; 3] = [
        [-0.24917075, 0.005206381, 0.016592532, 0.039816737, 0.3481738, 0.028763724, 0.11618948, -0.14045162],
        [-0.24917075, -0.06108682, -0.1737635, -0.04941766, 0.17635389, 0.048436582, 0.17682663, 0.28957757],
        [-0.24917075, 0.035881385, -0.0561901, -0.13186762, 0.16399305, 0.24089845, -0.13168263, -0.0007341317],
    ];
    for (number, expected) in GOLDEN.iter().enumerate() {
        let network = class(number, 4);
        let mut state = vec![0.0; network.units()];
        let steps: Vec<f64> = (0..100).map(|row| [1.0, 0.5, 3.0][row % 3]).collect();
        network.run(&mut state, &inputs(100, 4), &steps, None).unwrap();
        let found: Vec<f32> = (0..8).map(|place| state[place * (network.units() / 8 + 1)]).collect();
        for (value, wanted) in found.iter().zip(expected) {
            assert!((value - wanted).abs() <= 1e-6, "{found:?}");
        }
    }
}

#[test]
fn blocks_are_multiples_of_orthogonal_matrices() {
    for layers in 0..=6 {
        let config = Config { givens_layers: layers, ..Config::of_class(&CLASSES[0], 1) };
        let network = Network::new(&config).unwrap();
        for membrane in 0..8 {
            let block = network.block(membrane).unwrap();
            for (number, row) in block.iter().enumerate() {
                assert_eq!(row.iter().filter(|&&value| value != 0.0).count(), 1 << layers);
                for (other_number, other) in block.iter().enumerate() {
                    let product: f64 = row.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    let expected = if number == other_number { 0.85 * 0.85 } else { 0.0 };
                    assert!((product - expected).abs() < 1e-6);
                }
            }
        }
    }
}

#[test]
fn two_starts_meet_after_the_washout_of_the_rate() {
    for number in 0..3 {
        let network = class(number, 4);
        let washout = usize::try_from(network.washout(1e-5, 1.0).unwrap()).unwrap();
        let mut one: Vec<f32> = inputs(1, network.units());
        let mut other: Vec<f32> = one.iter().rev().map(|value| if *value > 0.0 { -1.0 } else { 1.0 }).collect();
        let shared = inputs(washout, 4);
        network.run(&mut one, &shared, &[1.0], None).unwrap();
        network.run(&mut other, &shared, &[1.0], None).unwrap();
        let apart = one.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart <= 1e-5, "class {number}: {apart} after {washout}");
        assert!(network.washout_bound(1e-5, 1.0).unwrap() >= washout as u64);
    }
}

#[test]
fn the_state_stays_in_the_box_for_every_step() {
    let network = class(0, 1);
    let mut state = vec![1.0; network.units()];
    for dt in [MIN_STEP, 0.1, 1.0, 2.785, 100.0, 1e9, f64::MAX] {
        network.run(&mut state, &[f32::MAX, -f32::MAX, 3.0], &[dt], None).unwrap();
        assert!(state.iter().all(|value| value.abs() <= 1.0), "{dt}");
    }
}

#[test]
fn one_long_step_equals_two_short_ones_where_the_drive_is_constant() {
    // With a frozen drive exponential Euler is exact, so the decay over dt is that of dt/2 twice. A tiny radius, no
    // coupling: the drive is the bias.
    let config = Config { spectral_radius: 1e-12, coupling_scale: 0.0, ..Config::of_class(&CLASSES[0], 1) };
    let network = Network::new(&config).unwrap();
    let (mut long, mut short) = (vec![0.5; network.units()], vec![0.5; network.units()]);
    network.run(&mut long, &[0.0], &[4.0], None).unwrap();
    network.run(&mut short, &[0.0, 0.0], &[2.0], None).unwrap();
    let apart = long.iter().zip(&short).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 2e-7, "{apart}");
}

#[test]
fn rows_at_once_are_rows_one_by_one() {
    let network = class(1, 3);
    let all = inputs(20, 3);
    let (mut together, mut single) = (vec![0.0; network.units()], vec![0.0; network.units()]);
    let mut states = vec![0.0; 20 * network.units()];
    network.run(&mut together, &all, &[0.7], Some(&mut states)).unwrap();
    for (row, input) in all.chunks_exact(3).enumerate() {
        network.step(&mut single, input, 0.7).unwrap();
        assert_eq!(single, states[row * network.units()..(row + 1) * network.units()]);
    }
    assert_eq!(single, together);
}

#[test]
fn another_seed_is_another_network() {
    let config = Config::of_class(&CLASSES[0], 2);
    let same = Network::new(&config).unwrap().fingerprint();
    assert_eq!(same, Network::new(&config).unwrap().fingerprint());
    assert_ne!(same, Network::new(&Config { seed: 1, ..config.clone() }).unwrap().fingerprint());
    assert_ne!(same, Network::new(&Config { leak: 0.4, ..config }).unwrap().fingerprint());
}

#[test]
fn the_plan_knows_the_bytes_and_time_constants() {
    let densities = [1.0 / 64.0, Settings::default().block_density, 1.0];
    let classes = [1, 13_000_000_000, 70_000_000_000].into_iter().zip(CLASSES);
    for ((parameters, class), block_density) in classes.flat_map(|class| densities.map(|density| (class, density))) {
        let settings = Settings { block_density, ..Settings::default() };
        let plan = reservoir::reservoir(parameters, 1, settings).unwrap();
        let inputs = usize::try_from(INPUTS).unwrap();
        let givens_layers = usize::try_from(givens_layers(block_density).unwrap()).unwrap();
        let network = Network::new(&Config { givens_layers, ..Config::of_class(&class, inputs) }).unwrap();
        let readout = 4 * INPUTS * (plan.class.units + 1);
        assert_eq!(plan.weight_bytes, network.weight_bytes() as u64 + readout);
        assert_eq!(plan.tree, network.config().tree);
        for (planned, real) in plan.level_time_constants.iter().zip(network.time_constants()) {
            assert!((planned - real).abs() < 1e-12);
        }
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let good = Config::of_class(&CLASSES[0], 1);
    let bad = [
        Config { spectral_radius: 1.0, ..good.clone() },
        Config { spectral_radius: 1.2, ..good.clone() },
        Config { spectral_radius: f64::NAN, ..good.clone() },
        Config { leak: 0.0, ..good.clone() },
        Config { leak: 1.1, ..good.clone() },
        Config { input_scale: f64::INFINITY, ..good.clone() },
        Config { bias_scale: -0.1, ..good.clone() },
        Config { coupling_scale: f64::NAN, ..good.clone() },
        Config { givens_layers: 7, ..good.clone() },
        Config { inputs: 0, ..good.clone() },
    ];
    for config in bad {
        assert!(matches!(Network::new(&config), Err(NetworkError::Setting { .. })), "{config:?}");
    }
    assert!(matches!(Network::new(&Config { tree: vec![1, 3], ..good }), Err(NetworkError::Tree(_))));
}

#[test]
fn bad_rows_are_named_and_change_nothing() {
    let network = class(0, 2);
    let mut state = vec![0.25; network.units()];
    let before = state.clone();
    let nan = network.run(&mut state, &[0.0, 0.0, 0.0, f32::NAN], &[1.0], None);
    assert!(matches!(nan, Err(NetworkError::NotFinite { row: 1, column: 1, .. })));
    for dt in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-4] {
        let refused = network.run(&mut state, &[0.0; 4], &[1.0, dt], None);
        assert!(matches!(refused, Err(NetworkError::TimeStep { row: 1, .. })), "{dt}");
    }
    assert!(matches!(network.step(&mut state, &[0.0], 1.0), Err(NetworkError::Width { .. })));
    assert!(matches!(network.run(&mut state, &[0.0; 4], &[1.0; 3], None), Err(NetworkError::Width { .. })));
    assert!(matches!(network.step(&mut [0.0; UNITS], &[0.0; 2], 1.0), Err(NetworkError::Width { .. })));
    assert_eq!(state, before);
}

#[test]
fn the_largest_inputs_saturate() {
    let config = Config { input_scale: 9.9, ..Config::of_class(&CLASSES[0], 1024) };
    let network = Network::new(&config).unwrap();
    let mut state = vec![0.0; network.units()];
    let input: Vec<f32> = (0..1024).map(|at| if at % 2 == 0 { f32::MAX } else { -f32::MAX }).collect();
    network.step(&mut state, &input, 1.0).unwrap();
    assert!(state.iter().all(|unit| unit.abs() <= 1.0), "no sum of them is infinite");
}
