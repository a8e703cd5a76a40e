//! Measured orders agree with exact ones, and the certified methods certify the reservoir's own step.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use bseries::{NAMES, Series, Tableau, tableau};
use network::{Config, Network};
use reservoir::CLASSES;

struct Method {
    a: Vec<Vec<f64>>,
    b: Vec<f64>,
}

impl Method {
    fn new(exact: &Tableau) -> Self {
        let row = |values: &[bseries::Number]| values.iter().map(bseries::Number::to_f64).collect::<Vec<_>>();
        Self { a: exact.a().iter().map(|values| row(values)).collect(), b: row(exact.b()) }
    }

    /// One step; implicit stages by fixed-point iteration, which converges for the steps taken here.
    fn step(&self, slope: &dyn Fn([f64; 2]) -> [f64; 2], y: [f64; 2], h: f64) -> [f64; 2] {
        let mut stages = vec![slope(y); self.b.len()];
        for _ in 0..60 {
            let inner: Vec<_> = self.a.iter().map(|row| slope(combine(y, h, row, &stages))).collect();
            stages = inner;
        }
        combine(y, h, &self.b, &stages)
    }

    fn solve(&self, slope: &dyn Fn([f64; 2]) -> [f64; 2], start: [f64; 2], steps: u32, time: f64) -> [f64; 2] {
        (0..steps).fold(start, |y, _| self.step(slope, y, time / f64::from(steps)))
    }
}

fn combine(y: [f64; 2], h: f64, factors: &[f64], stages: &[[f64; 2]]) -> [f64; 2] {
    factors
        .iter()
        .zip(stages)
        .fold(y, |sum, (factor, stage)| [sum[0] + h * factor * stage[0], sum[1] + h * factor * stage[1]])
}

fn distance(one: [f64; 2], other: [f64; 2]) -> f64 {
    (one[0] - other[0]).hypot(one[1] - other[1])
}

/// Lotka-Volterra, and a pendulum: both non-linear, both without a closed solution that a method could hit by luck.
fn predators(y: [f64; 2]) -> [f64; 2] {
    [y[0] * (1.0 - y[1]), y[1] * (y[0] - 1.2)]
}

fn pendulum(y: [f64; 2]) -> [f64; 2] {
    [y[1], -y[0].sin() - 0.1 * y[1]]
}

#[test]
fn measured_orders_agree() {
    for name in NAMES {
        let exact = tableau(name).unwrap();
        let order = Series::new(&exact, 6).unwrap().method_order();
        let method = Method::new(&exact);
        let reference = Method::new(&tableau("radau-iia5").unwrap());
        for (problem, start) in [(predators as fn([f64; 2]) -> [f64; 2], [1.3, 0.7]), (pendulum, [1.0, 0.4])] {
            let truth = reference.solve(&problem, start, 2000, 2.0);
            let errors = [20, 40, 80].map(|steps| distance(method.solve(&problem, start, steps, 2.0), truth));
            let measured = (errors[1] / errors[2]).log2();
            let expected = f64::from(u32::try_from(order).unwrap());
            assert!((measured - expected).abs() < 0.3, "{name}: {measured} for {expected}, {errors:?}");
        }
    }
}

#[test]
fn the_reservoirs_step_is_the_reference_with_a_frozen_drive() {
    // tau x' = -x + tanh(s) with s held: Dormand-Prince, certified to order 5, in 64 steps.
    let certified = tableau("dormand-prince5").unwrap();
    assert_eq!(Series::new(&certified, 6).unwrap().method_order(), 5);
    let method = Method::new(&certified);
    let config = Config { spectral_radius: 1e-12, coupling_scale: 0.0, ..Config::of_class(&CLASSES[2], 1) };
    let network = Network::new(&config).unwrap();
    let mut target = vec![0.0; network.units()];
    network.step(&mut target, &[0.7], 1e9).unwrap();
    for dt in [0.1, 1.0, 5.0] {
        let mut state = vec![0.5; network.units()];
        network.step(&mut state, &[0.7], dt).unwrap();
        for (unit, level) in config.tree.iter().enumerate().map(|(node, level)| (node * 64 + 5, *level as usize - 1)) {
            let tau = network.time_constants()[level];
            let goal = f64::from(target[unit]);
            let slope = move |y: [f64; 2]| [(goal - y[0]) / tau, 0.0];
            let expected = method.solve(&slope, [0.5, 0.0], 64, dt)[0];
            assert!((f64::from(state[unit]) - expected).abs() < 1e-6, "unit {unit}, dt {dt}");
        }
    }
}

#[test]
fn explicit_methods_leave_the_box_where_the_reservoir_does_not() {
    // x' = -x + 1 from -1 by one step: the bounds that the design names.
    for (name, inside, outside) in [("euler", 1.0, 1.01), ("heun", 2.0, 2.01), ("rk4", 2.785, 2.79)] {
        let method = Method::new(&tableau(name).unwrap());
        let slope = |y: [f64; 2]| [1.0 - y[0], 0.0];
        assert!(method.step(&slope, [-1.0, 0.0], inside)[0] <= 1.0 + 1e-3, "{name}");
        assert!(method.step(&slope, [-1.0, 0.0], outside)[0].abs() > 1.0, "{name}");
    }
}
