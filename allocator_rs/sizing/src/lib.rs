//! How much memory a model needs, by component, from its checkpoint's headers and its config; no weight is read.
//!
//! [`inspect`] reads a directory, [`inspect_config`] a `config.json` alone; both give a [`Checkpoint`], which [`size`]
//! turns into [`Component`]s for a dtype, a context length and a concurrency.
//!
//! To add an architecture of a known family, add a row to [`catalogue::ARCHITECTURES`]; to add a family, add a file
//! beside `families/bert.rs`. A family is a list of rules; no total is written down anywhere.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

pub mod catalogue;
pub mod checkpoint;
pub mod component;
pub mod config;
pub mod dtype;
pub mod error;
pub mod families;
pub mod index;
pub mod math;
pub mod model;
pub mod safetensors;
pub mod source;
pub mod torch;

pub use catalogue::Task;
pub use checkpoint::{Checkpoint, inspect, inspect_config};
pub use component::{Component, Sized, Workload};
pub use dtype::{StoredDtype, WeightDtype};
pub use error::SizingError;
pub use torch::size;

/// This crate's results.
pub type Result<T> = std::result::Result<T, SizingError>;
