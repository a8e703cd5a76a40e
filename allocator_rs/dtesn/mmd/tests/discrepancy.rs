//! The statistic by its definition, the null's uniformity, and what is refused.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "tests")]

use mmd::{BANDWIDTHS, Discrepancy, MmdError, Plan, Samples, compare};
use random::Random;

/// Sums of twelve uniform numbers for normal ones.
struct Draw(Random);

impl Draw {
    fn normals(&mut self, count: usize, shift: f64) -> Vec<f64> {
        (0..count).map(|_| (0..12).map(|_| self.0.unit()).sum::<f64>() - 6.0 + shift).collect()
    }
}

fn samples<'a>(first: &'a [f64], second: &'a [f64], width: usize) -> Samples<'a> {
    Samples { first, second, width, strata: &[] }
}

fn found(first: &[f64], second: &[f64], width: usize, plan: Plan) -> Discrepancy {
    compare(&samples(first, second, width), &plan).unwrap()
}

/// The definition, term by term.
fn by_definition(first: &[f64], second: &[f64], width: usize) -> f64 {
    let rows: Vec<&[f64]> = first.chunks(width).chain(second.chunks(width)).collect();
    let far = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
    let mut apart: Vec<f64> =
        (0..rows.len()).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| far(rows[i], rows[j])).collect();
    apart.sort_by(f64::total_cmp);
    let half = apart.len() / 2;
    let median = if apart.len() % 2 == 1 { apart[half] } else { f64::midpoint(apart[half - 1], apart[half]) };
    let kernel = |a: &[f64], b: &[f64]| {
        BANDWIDTHS.iter().map(|w| (-far(a, b).powi(2) / (2.0 * (w * median).powi(2))).exp()).sum::<f64>() / 3.0
    };
    let mean = |left: &[&[f64]], right: &[&[f64]], same: bool| {
        let mut sum = 0.0;
        for (i, a) in left.iter().enumerate() {
            for (j, b) in right.iter().enumerate() {
                sum += if same && i == j { 0.0 } else { kernel(a, b) };
            }
        }
        sum / (left.len() * (right.len() - usize::from(same))) as f64
    };
    let (x, y) = rows.split_at(first.len() / width);
    mean(x, x, true) + mean(y, y, true) - 2.0 * mean(x, y, false)
}

#[test]
fn the_statistic_is_that_of_the_definition() {
    let mut draw = Draw(Random::new(1));
    for (m, n, width) in [(2, 2, 1), (7, 12, 3), (30, 21, 5)] {
        let (first, second) = (draw.normals(m * width, 0.0), draw.normals(n * width, 0.5));
        let plan = Plan { permutations: 0, ..Plan::default() };
        let told = found(&first, &second, width, plan).statistic;
        assert!((told - by_definition(&first, &second, width)).abs() < 1e-12, "{m} {n} {width}");
    }
}

#[test]
fn equal_samples_are_rejected_as_often_as_was_asked() {
    let (draws, mut draw) = (2_000_u32, Draw(Random::new(2)));
    for paired in [false, true] {
        let strata: Vec<u32> = if paired { (0..12).chain(0..12).collect() } else { Vec::new() };
        let values: Vec<f64> = (0..draws)
            .map(|seed| {
                let (first, second) = (draw.normals(24, 0.0), draw.normals(24, 0.0));
                let both = Samples { strata: &strata, ..samples(&first, &second, 2) };
                compare(&both, &Plan { permutations: 999, seed: u64::from(seed), threads: 1 }).unwrap().p_value
            })
            .collect();
        for level in [0.05, 0.2] {
            let rejected = values.iter().filter(|&&p| p <= level).count() as f64;
            let expected = f64::from(draws) * level;
            // Four standard deviations of the binomial; the seed is fixed.
            let bound = 4.0 * (expected * (1.0 - level)).sqrt();
            assert!((rejected - expected).abs() < bound, "{rejected} of {draws} at {level}, paired: {paired}");
        }
    }
}

#[test]
fn a_shift_is_found_whoever_works_on_it() {
    let mut draw = Draw(Random::new(3));
    let (first, second) = (draw.normals(120, 0.0), draw.normals(120, 1.0));
    let told: Vec<Discrepancy> =
        [1, 2, 5].iter().map(|&threads| found(&first, &second, 2, Plan { threads, ..Plan::default() })).collect();
    assert!(told[0].p_value <= 1e-3 && told[0].statistic > 0.05);
    assert!(told.iter().all(|one| *one == told[0]));
}

#[test]
fn an_early_stop_says_how_far_it_went() {
    let mut draw = Draw(Random::new(4));
    let (first, second) = (draw.normals(40, 0.0), draw.normals(40, 0.0));
    let told = found(&first, &second, 2, Plan::default());
    assert!(told.permutations < 9_999);
    assert!((told.p_value - 20.0 / f64::from(told.permutations)).abs() < 1e-15);
}

#[test]
fn labels_stay_within_their_stratum() {
    // Strata far apart from each other with unequal parts: exchanged across them the difference would be no surprise.
    let first: Vec<f64> = (0..20).map(|i| f64::from(i % 2) * 100.0 + f64::from(i) * 0.01).collect();
    let second: Vec<f64> = first.iter().map(|value| value + 0.5).collect();
    let strata: Vec<u32> = (0..40).map(|i| i % 2).collect();
    let apart = compare(&Samples { strata: &strata, ..samples(&first, &second, 1) }, &Plan::default()).unwrap();
    let together = found(&first, &second, 1, Plan::default());
    assert!(apart.p_value < 1e-3 && together.p_value > 0.5, "{apart:?} {together:?}");
}

#[test]
fn rows_that_are_all_equal_say_nothing() {
    let told = found(&[1.0; 6], &[1.0; 8], 2, Plan::default());
    assert_eq!(told, Discrepancy { statistic: 0.0, p_value: 1.0, permutations: 0, median: 0.0 });
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let good = [0.0, 1.0, 2.0, 3.0];
    let refused = |first: &[f64], second: &[f64], width| compare(&samples(first, second, width), &Plan::default());
    assert!(matches!(refused(&good, &good, 3), Err(MmdError::Width { name: "first", .. })));
    assert!(matches!(refused(&good, &good, 0), Err(MmdError::Width { .. })));
    assert!(matches!(refused(&good, &[0.0, 1.0], 2), Err(MmdError::TooFewRows { name: "second", rows: 1, .. })));
    assert!(matches!(refused(&[], &good, 1), Err(MmdError::TooFewRows { name: "first", rows: 0, .. })));
    for bad in [f64::NAN, f64::INFINITY] {
        let told = refused(&good, &[0.0, 1.0, bad, 0.0], 2);
        assert!(matches!(told, Err(MmdError::NotFinite { name: "second", row: 1, column: 0, .. })));
    }
    let long = vec![0.0; 4_000];
    assert!(matches!(refused(&long, &long, 1), Err(MmdError::TooManyRows { rows: 8_000, .. })));
    let odd = Samples { strata: &[1], ..samples(&good, &good, 1) };
    assert!(matches!(compare(&odd, &Plan::default()), Err(MmdError::Strata { found: 1, expected: 8 })));
}

#[test]
fn distances_whose_squares_are_subnormal_are_numbers() {
    let tiny = 2.3e-162;
    let plan = Plan { permutations: 99, ..Plan::default() };
    let told = found(&[0.0, 0.0, 0.0, 0.0], &[tiny, tiny, 0.0, 0.0], 1, plan);
    assert!(told.statistic.is_finite() && told.p_value > 0.0, "{told:?}");
}
