//! A fleet that was filled and then partly left: what a bounded number of moves brings back.

use std::time::Instant;

use placement::{Fleet, Item, Limits, Random};
use serde_json::{Value, json};

use crate::SimulationError;
use crate::trace::{Trace, demand_milli, draw};

/// Items that leave the full fleet, percent.
const LEAVING_PERCENT: usize = 20;
/// A second for each GPU's worth of weights, and five to start.
const RELOAD_BASE_MS: u64 = 5_000;

/// Fill, leave, repack with at most `max_moves` moves, with those who found no room as what is expected; then let these ask
/// again, with and without the moves.
///
/// # Errors
/// A pod or a node that the allocator refuses.
pub fn compare(trace: &Trace, max_moves: u64, seeds: std::ops::Range<u64>) -> Result<Value, SimulationError> {
    let mut runs = Vec::new();
    for seed in seeds {
        let (nodes, arrivals) = draw(trace, 130, seed);
        let mut fleet = Fleet::new(&nodes)?;
        fleet.expect(&trace.pods, 95)?;
        let (mut placed, mut waiting) = (Vec::new(), Vec::new());
        for pod in &arrivals {
            let reload_ms = demand_milli(pod).saturating_add(RELOAD_BASE_MS);
            let pod = Item { reload_ms, ..pod.clone() };
            if fleet.place(&pod)?.is_some() {
                placed.push(pod);
            } else {
                waiting.push(pod);
            }
        }
        Random::new(seed).shuffle(&mut placed);
        for pod in placed.iter().take(placed.len().saturating_mul(LEAVING_PERCENT) / 100) {
            fleet.remove(&pod.id)?;
        }
        let limits =
            Limits { max_moves: usize::try_from(max_moves).unwrap_or(usize::MAX), max_cost_ms: u64::MAX, seed };
        let began = Instant::now();
        fleet.expect(&waiting, 100)?;
        let plan = fleet.repack(limits);
        let took = began.elapsed();
        let mut moved = fleet.clone();
        moved.apply(&plan.moves)?;
        runs.push(json!({
            "seed": seed, "free_milli": fleet.free_milli(), "before_milli": plan.before_milli,
            "after_milli": plan.after_milli, "moves": plan.moves.len(), "ms": took.as_secs_f64() * 1e3,
            "cost_s": plan.moves.iter().map(|one| one.cost_ms).sum::<u64>() / 1_000,
            "large_before": large(&fleet)?, "large_after": large(&moved)?,
            "large_with_moves": large_with_moves(&fleet, limits.max_moves, seed)?,
            "admitted_milli": admitted(&mut fleet, &waiting)?, "admitted_after_milli": admitted(&mut moved, &waiting)?,
        }));
    }
    Ok(json!({ "max_moves": max_moves, "runs": runs }))
}

fn large_item(number: u32) -> Item {
    let id = format!("large-{number}");
    Item { id, ranks: 8, compute_milli: 1_000, cpu_milli: 32_000, ..Item::default() }
}

/// How many items with eight whole GPUs would find room.
fn large(fleet: &Fleet) -> Result<u32, SimulationError> {
    let mut fleet = fleet.clone();
    for number in 0.. {
        if fleet.place(&large_item(number))?.is_none() {
            return Ok(number);
        }
    }
    Ok(0)
}

/// How many more large items find room when others may be moved, the moves that it takes, and the longest search in milliseconds.
fn large_with_moves(fleet: &Fleet, mut moves_left: usize, seed: u64) -> Result<Value, SimulationError> {
    let mut fleet = fleet.clone();
    let (mut found, mut moves, mut longest_ms) = (0_u32, 0_usize, 0.0_f64);
    for number in 0_u32.. {
        let item = large_item(number);
        let limits = Limits { max_moves: moves_left, max_cost_ms: u64::MAX, seed };
        let began = Instant::now();
        let room = fleet.make_room(&item, limits)?;
        longest_ms = longest_ms.max(began.elapsed().as_secs_f64() * 1e3);
        let Some((_, plan)) = room else { break };
        fleet.apply(&plan)?;
        fleet.place(&item)?;
        moves_left = moves_left.saturating_sub(plan.len());
        (found, moves) = (number.saturating_add(1), moves.saturating_add(plan.len()));
    }
    Ok(json!({ "found": found, "moves": moves, "longest_ms": longest_ms }))
}

/// Thousandths of GPUs that go to those who waited.
fn admitted(fleet: &mut Fleet, waiting: &[Item]) -> Result<u64, SimulationError> {
    let mut sum = 0_u64;
    for pod in waiting {
        if fleet.place(pod)?.is_some() {
            sum = sum.saturating_add(demand_milli(pod));
        }
    }
    Ok(sum)
}
