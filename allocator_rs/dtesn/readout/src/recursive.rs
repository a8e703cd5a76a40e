//! Recursive least squares with forgetting (Haykin, "Adaptive Filter Theory", chapter 10).

use crate::ReadoutError;
use crate::matrix::{add_scaled, dot, rows, zeros};

/// The inverse correlation does not grow beyond this: where inputs stay silent, forgetting stops instead of winding up.
const MAX_GAIN: f64 = 1e8;

/// A readout that follows a stream, one row at a time; the last feature is a constant 1 of its own.
#[derive(Debug, Clone)]
pub struct Recursive {
    features: usize,
    outputs: usize,
    forgetting: f64,
    /// Output by output, the bias last.
    weights: Vec<f64>,
    /// Inverse correlation, symmetric, in full.
    inverse: Vec<f64>,
    updates: u64,
}

impl Recursive {
    /// Weights of zero. `forgetting`: weight of a row against the one after it, above 0.5 and at most 1; `start`: the
    /// inverse correlation's diagonal before any row (large: the first rows count much).
    ///
    /// # Errors
    /// [`ReadoutError::Setting`] and [`ReadoutError::Size`].
    pub fn new(features: usize, outputs: usize, forgetting: f64, start: f64) -> Result<Self, ReadoutError> {
        if !(forgetting > 0.5 && forgetting <= 1.0) {
            let expected = "above 0.5 and at most 1";
            return Err(ReadoutError::Setting { name: "forgetting", value: forgetting, expected });
        }
        if !(start > 0.0 && start <= MAX_GAIN) {
            return Err(ReadoutError::Setting { name: "start", value: start, expected: "above 0 and at most 1e8" });
        }
        for (name, count) in [("features", features), ("outputs", outputs)] {
            if !(1..=1 << 14).contains(&count) {
                let value = u32::try_from(count).map_or(f64::INFINITY, f64::from);
                return Err(ReadoutError::Setting { name, value, expected: "1 to 16384" });
            }
        }
        let size = features + 1;
        let mut inverse = zeros("the inverse correlation", [size, size])?;
        inverse.iter_mut().step_by(size + 1).for_each(|value| *value = start);
        let weights = zeros("the weights", [size, outputs])?;
        Ok(Self { features, outputs, forgetting, weights, inverse, updates: 0 })
    }

    /// Values of a state.
    #[must_use]
    pub const fn features(&self) -> usize {
        self.features
    }

    /// Values of a prediction.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        self.outputs
    }

    /// Rows learnt from.
    #[must_use]
    pub const fn updates(&self) -> u64 {
        self.updates
    }

    /// The weights, output by output, each with its bias last.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Predict one row into `out`.
    ///
    /// # Errors
    /// [`ReadoutError::Width`] and [`ReadoutError::NotFinite`].
    pub fn predict(&self, state: &[f32], out: &mut [f32]) -> Result<(), ReadoutError> {
        let wide = self.widen(state)?;
        if out.len() != self.outputs {
            return Err(ReadoutError::Width { name: "out", found: out.len(), expected: self.outputs });
        }
        for (value, weights) in out.iter_mut().zip(self.weights.chunks_exact(wide.len())) {
            #[allow(clippy::cast_possible_truncation, reason = "predictions are f32")]
            let rounded = dot(weights, &wide) as f32;
            *value = rounded;
        }
        Ok(())
    }

    /// Predict one row into `out`, then learn its target.
    ///
    /// # Errors
    /// As [`Recursive::predict`]; then nothing was learnt.
    pub fn update(&mut self, state: &[f32], target: &[f32], out: &mut [f32]) -> Result<(), ReadoutError> {
        rows("target", target, self.outputs)?;
        if target.len() != self.outputs {
            return Err(ReadoutError::Width { name: "target", found: target.len(), expected: self.outputs });
        }
        self.predict(state, out)?;
        let wide = self.widen(state)?;
        let size = wide.len();
        let product: Vec<f64> = self.inverse.chunks_exact(size).map(|row| dot(row, &wide)).collect();
        let scale = 1.0 / (self.forgetting + dot(&product, &wide));
        for (weights, goal) in self.weights.chunks_exact_mut(size).zip(target) {
            let error = f64::from(*goal) - dot(weights, &wide);
            add_scaled(weights, error * scale, &product);
        }
        let largest = self.inverse.iter().step_by(size + 1).copied().fold(0.0, f64::max);
        let grow = if largest < MAX_GAIN { 1.0 / self.forgetting } else { 1.0 };
        // Each entry and its mirror image get the same operations, so the matrix stays symmetric to the bit.
        for (row, own) in self.inverse.chunks_exact_mut(size).zip(&product) {
            for (value, other) in row.iter_mut().zip(&product) {
                *value = grow * (*value - scale * (own * other));
            }
        }
        self.updates += 1;
        Ok(())
    }

    fn widen(&self, state: &[f32]) -> Result<Vec<f64>, ReadoutError> {
        rows("state", state, self.features)?;
        if state.len() != self.features {
            return Err(ReadoutError::Width { name: "state", found: state.len(), expected: self.features });
        }
        Ok(state.iter().map(|value| f64::from(*value)).chain(std::iter::once(1.0)).collect())
    }
}
