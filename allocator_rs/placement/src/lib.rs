//! Where models go. Deterministic: equal inputs and an equal seed give equal placements.
//!
//! * [`place`]: replicas over the devices of one host, by memory alone; what the daemon's ledger asks for.
//! * [`Fleet`]: items that need GPUs, compute shares, CPU and host memory, over nodes with GPUs of several models; one arrival
//!   at a time, with a bounded local search beside it ([`Fleet::repack`], [`Fleet::make_room`], [`Fleet::find_preemption`]).
//! * [`pack`]: vectors into as few equal bins as possible.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

mod devices;
mod error;
mod fleet;
mod fragmentation;
mod node;
mod packing;
mod repack;
mod spec;

pub use devices::{Device, MAX_REPLICAS, place};
pub use error::PlacementError;
pub use fleet::{Fleet, Place};
pub use fragmentation::Workload;
pub use packing::{Packing, lower_bound, pack};
pub use random::Random;
pub use repack::{Batch, Limits, MIN_GAIN_MILLI, Move, Preemption, Repack};
pub use spec::{Affinity, GpuSpec, Item, MAX_GPUS, NodeSpec, Shape};
