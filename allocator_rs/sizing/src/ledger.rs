//! Where an engine's rules write what they find: all of it, or the sums alone.

use std::borrow::Cow;

use crate::Result;
use crate::component::{Component, Sized};
use crate::math::sum;

pub use crate::component::Totals;

/// How a component follows, for a person.
#[derive(Debug)]
pub struct Detail {
    /// How the bytes follow from `inputs`.
    pub formula: Cow<'static, str>,
    /// The formula's numbers.
    pub inputs: Vec<(&'static str, u64)>,
    /// Where formula or constant come from.
    pub source: &'static str,
}

impl Detail {
    /// A detail whose formula is known when this is compiled.
    #[must_use]
    pub fn new(formula: &'static str, inputs: &[(&'static str, u64)], source: &'static str) -> Self {
        Self { formula: Cow::Borrowed(formula), inputs: inputs.to_vec(), source }
    }
}

/// Takes components one by one.
pub trait Ledger {
    /// Whether details are kept.
    const TOLD: bool;

    /// Take a component. `detail` is asked for only where it is kept.
    ///
    /// # Errors
    /// [`crate::SizingError::Overflow`].
    fn add(&mut self, name: &'static str, bytes: u64, upper_bytes: u64, detail: impl FnOnce() -> Detail) -> Result<()>;

    /// Take a sentence for the caller.
    fn warn(&mut self, text: impl FnOnce() -> String);

    /// Take a component whose upper bound is its expectation.
    ///
    /// # Errors
    /// [`crate::SizingError::Overflow`].
    fn exact(&mut self, name: &'static str, bytes: u64, detail: impl FnOnce() -> Detail) -> Result<()> {
        self.add(name, bytes, bytes, detail)
    }
}

impl Ledger for Totals {
    const TOLD: bool = false;

    fn add(&mut self, _name: &'static str, bytes: u64, upper_bytes: u64, _: impl FnOnce() -> Detail) -> Result<()> {
        self.bytes = sum("the total", &[self.bytes, bytes])?;
        self.upper_bytes = sum("the total", &[self.upper_bytes, upper_bytes])?;
        Ok(())
    }

    fn warn(&mut self, _: impl FnOnce() -> String) {}
}

impl Ledger for Sized {
    const TOLD: bool = true;

    fn add(&mut self, name: &'static str, bytes: u64, upper_bytes: u64, detail: impl FnOnce() -> Detail) -> Result<()> {
        let Detail { formula, inputs, source } = detail();
        self.components.push(Component { name, bytes, upper_bytes, formula, inputs, source });
        Ok(())
    }

    fn warn(&mut self, text: impl FnOnce() -> String) {
        self.warnings.push(text());
    }
}
