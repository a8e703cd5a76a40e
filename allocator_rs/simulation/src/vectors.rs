//! Random instances of vector bin packing: two dimensions, U[100, 400], bins of 1,000.

use std::time::Instant;

use placement::{Random, pack};
use serde_json::{Value, json};

use crate::SimulationError;

const CAPACITY: [u64; 2] = [1_000, 1_000];

/// Pack `instances` instances of `count` items; each with its sizes, so that another solver can take them.
///
/// # Errors
/// None that can happen with these sizes.
pub fn compare(count: u64, instances: u64, rounds: u64) -> Result<Value, SimulationError> {
    let mut found = Vec::new();
    for seed in 0..instances {
        let mut random = Random::new(seed);
        let sizes: Vec<u64> =
            (0..count.saturating_mul(2)).map(|_| (random.below(301) as u64).saturating_add(100)).collect();
        let began = Instant::now();
        let packing = pack(&sizes, &CAPACITY, u32::try_from(rounds).unwrap_or(u32::MAX), seed)?;
        found.push(json!({
            "seed": seed, "sizes": sizes, "bins": packing.count, "lower_bound": packing.lower_bound,
            "ms": began.elapsed().as_secs_f64() * 1e3,
        }));
    }
    Ok(json!({ "capacity": CAPACITY, "count": count, "rounds": rounds, "instances": found }))
}
