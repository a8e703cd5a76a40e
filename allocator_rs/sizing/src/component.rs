//! The answer: components, each with the formula and the numbers that a person can check it by.

use std::borrow::Cow;

use crate::math::{product, sum};
use crate::number::Number;
use crate::{CpuIsa, Result};

/// One part of the memory that a model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Stable name.
    pub name: &'static str,
    /// Expected bytes.
    pub bytes: u64,
    /// What admission counts with.
    pub upper_bytes: u64,
    /// How `bytes` follows from `inputs`.
    pub formula: Cow<'static, str>,
    /// The formula's numbers.
    pub inputs: Vec<(&'static str, u64)>,
    /// Where formula or constant come from.
    pub source: &'static str,
}

/// What the engine is asked to do at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// Sequences that are computed together.
    pub sequences: u64,
    /// Tokens of each, prompt and generated together.
    pub context_length: u64,
    /// Bytes of one activation.
    pub element_bytes: u64,
    /// What is computed in.
    pub number: Number,
    /// What the matrix library computes with.
    pub cpu_isa: CpuIsa,
    /// Threads of one inference.
    pub threads: u64,
    /// Whether linear layers hold INT8 and make a copy in the compute dtype while they run.
    pub quantised: bool,
    /// Whether the peak's formula is wanted.
    pub told: bool,
}

impl Workload {
    /// Tokens of a full batch, padded.
    ///
    /// # Errors
    /// [`crate::SizingError::Overflow`].
    pub fn tokens(&self) -> Result<u64> {
        product("the tokens", &[self.sequences, self.context_length])
    }
}

/// Sums alone: nothing is allocated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Expected bytes.
    pub bytes: u64,
    /// What admission counts with.
    pub upper_bytes: u64,
}

/// All components of one instance: those of the rank that needs the most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sized {
    /// In a fixed order; those that do not apply are left out.
    pub components: Vec<Component>,
    /// What a caller should know.
    pub warnings: Vec<String>,
    /// Parts per million of the parameters that a quantising dtype covers; 0 for other dtypes.
    pub quantised_ppm: u64,
    /// Totals of every rank, pipeline stages outermost; one where nothing is split.
    pub ranks: Vec<Totals>,
    /// Bytes that one more token of one sequence needs in the cache of the fullest rank, while no window is full.
    pub kv_bytes_per_token: u64,
    /// Whether something of this engine's profile was compared with the running engine.
    pub verified: bool,
}

impl Sized {
    /// Sum of the expected bytes.
    ///
    /// # Errors
    /// [`crate::SizingError::Overflow`].
    pub fn bytes(&self) -> Result<u64> {
        self.components.iter().try_fold(0, |acc, part| sum("the total", &[acc, part.bytes]))
    }

    /// Sum of the upper bounds.
    ///
    /// # Errors
    /// [`crate::SizingError::Overflow`].
    pub fn upper_bytes(&self) -> Result<u64> {
        self.components.iter().try_fold(0, |acc, part| sum("the total", &[acc, part.upper_bytes]))
    }
}
