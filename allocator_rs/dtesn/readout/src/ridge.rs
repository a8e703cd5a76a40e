//! Ridge regression.

use crate::ReadoutError;
use crate::matrix::{cholesky, copy, dot, gram, rows, solve, zeros};
use crate::tridiagonal::{Solution, Tridiagonal};

/// Cross-validation tries regularisations from this share of the mean variance on,
const MIN_RIDGE: f64 = 1e-12;
/// four a decade,
const FACTOR: f64 = 1.778_279_410_038_922_8;
/// over fourteen decades.
const TRIED: usize = 4 * 14 + 1;

/// How much the weights are held back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Regularisation {
    /// This value is added to the diagonal of the normal equations of centred data.
    Fixed(f64),
    /// The value that generalised cross-validation prefers (Golub, Heath, Wahba, Technometrics 21, 1979).
    CrossValidated,
}

/// A fitted readout: y = W'x + bias; the bias is not regularised.
#[derive(Debug, Clone, PartialEq)]
pub struct Ridge {
    features: usize,
    outputs: usize,
    /// Output by output.
    weights: Vec<f64>,
    bias: Vec<f64>,
    regularisation: f64,
    degrees: Option<f64>,
}

impl Ridge {
    /// Fit on rows of `states` (`features` values each) and `targets` (`outputs` values each).
    ///
    /// # Errors
    /// [`ReadoutError`].
    pub fn fit(
        states: &[f32],
        features: usize,
        targets: &[f32],
        outputs: usize,
        regularisation: Regularisation,
    ) -> Result<Self, ReadoutError> {
        let count = rows("states", states, features)?;
        let found = rows("targets", targets, outputs)?;
        if found != count {
            return Err(ReadoutError::Width { name: "targets", found: targets.len(), expected: count * outputs });
        }
        if count < 2 {
            return Err(ReadoutError::TooFewRows { rows: count, needed: 2 });
        }
        let data = Data::new(states, features, targets, outputs, count)?;
        let (value, degrees, factor) = match regularisation {
            Regularisation::Fixed(value) if value >= 0.0 && value.is_finite() => {
                (value, None, cholesky(&data.gram, features, value)?)
            }
            Regularisation::Fixed(value) => {
                return Err(ReadoutError::Setting {
                    name: "regularisation",
                    value,
                    expected: "finite and not negative",
                });
            }
            Regularisation::CrossValidated => data.cross_validate()?,
        };
        data.solve(&factor, value, degrees)
    }

    /// Predict rows of `states` into `out`, row by row.
    ///
    /// # Errors
    /// [`ReadoutError::Width`] and [`ReadoutError::NotFinite`].
    pub fn predict(&self, states: &[f32], out: &mut [f32]) -> Result<(), ReadoutError> {
        let count = rows("states", states, self.features)?;
        if out.len() != count * self.outputs {
            return Err(ReadoutError::Width { name: "out", found: out.len(), expected: count * self.outputs });
        }
        let mut wide = vec![0.0; self.features];
        for (row, to) in states.chunks_exact(self.features).zip(out.chunks_exact_mut(self.outputs)) {
            wide.iter_mut().zip(row).for_each(|(to, from)| *to = f64::from(*from));
            for (output, value) in to.iter_mut().enumerate() {
                let weights = &self.weights[output * self.features..(output + 1) * self.features];
                #[allow(clippy::cast_possible_truncation, reason = "predictions are f32")]
                let rounded = (dot(weights, &wide) + self.bias[output]) as f32;
                *value = rounded;
            }
        }
        Ok(())
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

    /// The weights, output by output.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// One bias an output.
    #[must_use]
    pub fn bias(&self) -> &[f64] {
        &self.bias
    }

    /// The regularisation that was used.
    #[must_use]
    pub const fn regularisation(&self) -> f64 {
        self.regularisation
    }

    /// Effective degrees of freedom with the bias, where cross-validation found them.
    #[must_use]
    pub const fn degrees(&self) -> Option<f64> {
        self.degrees
    }
}

/// Centred sums.
struct Data {
    features: usize,
    outputs: usize,
    count: f64,
    means: Vec<f64>,
    target_means: Vec<f64>,
    gram: Vec<f64>,
    /// X'y, output by output.
    sides: Vec<Vec<f64>>,
    /// y'y, output by output.
    squares: Vec<f64>,
}

impl Data {
    #[allow(clippy::cast_precision_loss, reason = "a count of rows is far below 2^53")]
    fn new(
        states: &[f32],
        features: usize,
        targets: &[f32],
        outputs: usize,
        count: usize,
    ) -> Result<Self, ReadoutError> {
        let means = mean(states, features, count as f64);
        let target_means = mean(targets, outputs, count as f64);
        let gram = gram(states, features, &means)?;
        // Asked for as a whole first: many outputs of many features are as large as the matrix.
        drop(zeros("the matrix of outputs by features", [outputs, features])?);
        let mut sides =
            (0..outputs).map(|_| zeros("a row of features", [features, 1])).collect::<Result<Vec<_>, _>>()?;
        let mut squares = zeros("a row of outputs", [outputs, 1])?;
        for (row, target) in states.chunks_exact(features).zip(targets.chunks_exact(outputs)) {
            for (output, value) in target.iter().enumerate() {
                let centred = f64::from(*value) - target_means[output];
                squares[output] += centred * centred;
                let parts = sides[output].iter_mut().zip(row).zip(&means);
                parts.for_each(|((sum, value), mean)| *sum += centred * (f64::from(*value) - mean));
            }
        }
        Ok(Self { features, outputs, count: count as f64, means, target_means, gram, sides, squares })
    }

    /// The regularisation with the least generalised cross-validation score, summed over outputs, and its degrees,
    /// and the Cholesky factor at it. Where rounding leaves none, the next larger candidate with a factor is taken.
    fn cross_validate(&self) -> Result<(f64, Option<f64>, Vec<f64>), ReadoutError> {
        #[allow(clippy::cast_precision_loss, reason = "features are far below 2^53")]
        let features = self.features as f64;
        let variance = (0..self.features).map(|at| self.gram[at * self.features + at]).sum::<f64>() / features;
        if variance == 0.0 {
            return Err(ReadoutError::Singular { feature: 0 });
        }
        let reduced = Tridiagonal::new(copy("the reduced matrix", &self.gram)?, self.features, self.sides.clone());
        let degrees = |ridge: f64, found: &Solution| features - ridge * found.inverse_trace + 1.0;
        let mut best: Option<(f64, f64)> = None;
        let candidates = std::iter::successors(Some(variance * MIN_RIDGE), |ridge| Some(ridge * FACTOR)).take(TRIED);
        for ridge in candidates.clone() {
            let Some(found) = reduced.at(ridge) else { continue };
            let free = self.count - degrees(ridge, &found);
            if free <= 0.5 {
                continue;
            }
            let parts = self.squares.iter().zip(&found.fits).zip(&found.norms);
            let residual: f64 = parts.map(|((square, fit), norm)| (square - fit - ridge * norm).max(0.0)).sum();
            let score = residual / (free * free);
            if best.is_none_or(|(least, _)| score < least) {
                best = Some((score, ridge));
            }
        }
        let mut failure = ReadoutError::Singular { feature: 0 };
        let Some((_, chosen)) = best else { return Err(failure) };
        for ridge in candidates.filter(|ridge| *ridge >= chosen) {
            match cholesky(&self.gram, self.features, ridge) {
                Ok(factor) => return Ok((ridge, reduced.at(ridge).map(|found| degrees(ridge, &found)), factor)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn solve(self, factor: &[f64], ridge: f64, degrees: Option<f64>) -> Result<Ridge, ReadoutError> {
        let mut weights = zeros("the weights", [self.features, self.outputs])?;
        weights.clear();
        let mut bias = Vec::with_capacity(self.outputs);
        for (mut side, mean) in self.sides.into_iter().zip(&self.target_means) {
            solve(factor, self.features, &mut side);
            bias.push(mean - dot(&side, &self.means));
            weights.append(&mut side);
        }
        let (features, outputs) = (self.features, self.outputs);
        Ok(Ridge { features, outputs, weights, bias, regularisation: ridge, degrees })
    }
}

fn mean(values: &[f32], columns: usize, count: f64) -> Vec<f64> {
    let mut sums = vec![0.0; columns];
    for row in values.chunks_exact(columns) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    sums.iter().map(|sum| sum / count).collect()
}
