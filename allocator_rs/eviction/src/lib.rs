//! Which models to put out when another one needs their memory.
//!
//! A model is worth what its absence would cost: the expected uses per second times the seconds of a reload. Those that go
//! are worth least together and free enough; a serving or pinned one never goes, nor one that came a moment ago. A newcomer
//! has to be worth clearly more than what it pushes out, or two models would push each other out in turn.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

mod choose;
mod usage;

pub use choose::{Decision, EvictionError, Newcomer, Resident, Settings, choose};
pub use usage::Usage;
