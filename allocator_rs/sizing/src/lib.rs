//! How much memory a model needs, by component, from its checkpoint's headers and its config; no weight is read.
//!
//! [`inspect`] reads a directory that the embedded engine is to serve; [`survey`] reads whatever can be sized: directories,
//! GGUF files, a `config.json` alone. All give a [`Checkpoint`], which [`size_for`] turns into [`Component`]s for a
//! [`Request`]: an engine, dtypes, a context length, a concurrency, a split.
//!
//! To add an architecture of a known family, add a row to [`catalogue::DECODERS`]; to add a family, add a file
//! beside `families/bert.rs`. A family is a list of rules; no total is written down anywhere.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

pub mod architecture;
mod bounded_json;
pub mod cache;
pub mod catalogue;
pub mod checkpoint;
pub mod component;
pub mod config;
pub mod constants;
pub mod dtype;
pub mod engines;
pub mod error;
mod expression;
pub mod families;
pub mod file_errors;
pub mod folder;
mod found;
mod gguf_keys;
mod gguf_parts;
mod gguf_survey;
mod header_json;
pub mod held;
pub mod index;
pub mod isa;
pub mod layers;
pub mod ledger;
pub mod limits;
mod logical;
pub mod math;
pub mod model;
pub mod modules;
pub mod number;
mod packed_format;
pub mod quantisation;
pub mod request;
pub mod safetensors;
pub mod scheme;
pub mod sizes;
pub mod source;
pub mod steps;
mod strict;
pub mod survey;
pub mod tokenizer;
pub mod torch;
pub mod weights;

pub use architecture::Task;
pub use checkpoint::{Checkpoint, inspect, inspect_config};
pub use component::{Component, Sized, Workload};
pub use constants::Constants;
pub use dtype::{StoredDtype, WeightDtype};
pub use engines::{size, size_for, totals_for};
pub use error::{Result, SizingError};
pub use isa::CpuIsa;
pub use request::{Engine, KvDtype, Lora, Request};
pub use survey::{survey, survey_config};
