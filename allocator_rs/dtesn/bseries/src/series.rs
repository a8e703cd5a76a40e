//! The B-series of a method, and what follows from it.

use num_rational::BigRational;
use num_traits::One;

use crate::integers::elementary_weights;
use crate::{Forest, MAX_ORDER, Number, SeriesError, TREE_COUNTS, Tableau, forest};

/// The elementary weights of a method on all trees up to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    order: usize,
    weights: Vec<Number>,
}

/// a(t) = 1 / gamma(t): the exact solution, on all trees up to an order.
///
/// # Errors
/// [`SeriesError::Order`].
pub fn exact(order: usize) -> Result<Vec<Number>, SeriesError> {
    let densities = &forest().densities()[..Forest::count(order)?];
    Ok(densities.iter().map(|density| inverse(*density)).collect())
}

fn inverse(value: u64) -> Number {
    Number::one().times_ratio(&BigRational::new_raw(One::one(), value.into()))
}

impl Series {
    /// Compute the series.
    ///
    /// # Errors
    /// [`SeriesError::Order`].
    pub fn new(tableau: &Tableau, order: usize) -> Result<Self, SeriesError> {
        Ok(Self { order, weights: elementary_weights(tableau, Forest::count(order)?) })
    }

    /// Weights that were computed before.
    pub(crate) const fn from_weights(order: usize, weights: Vec<Number>) -> Self {
        Self { order, weights }
    }

    /// The largest number of nodes.
    #[must_use]
    pub const fn order(&self) -> usize {
        self.order
    }

    /// Phi of each tree, in the forest's order.
    #[must_use]
    pub fn weights(&self) -> &[Number] {
        &self.weights
    }

    /// Phi / sigma of each tree: the factors of h^|t| F(t).
    #[must_use]
    pub fn coefficients(&self) -> Vec<Number> {
        self.over_symmetry(|_, weight| weight.clone())
    }

    /// Phi - 1 / gamma of each tree: 0 where the order condition holds.
    #[must_use]
    pub fn residuals(&self) -> Vec<Number> {
        let densities = forest().densities();
        self.weights.iter().zip(densities).map(|(weight, density)| weight.minus(&inverse(*density))).collect()
    }

    /// The method's order: all conditions up to it hold. At most the order of the series.
    #[must_use]
    pub fn method_order(&self) -> usize {
        let zero = Number::zero();
        let first = self.residuals().iter().position(|residual| *residual != zero);
        first.map_or(self.order, |tree| forest().trees()[tree].order() - 1)
    }

    /// (Phi - 1 / gamma) / sigma of the trees of one node more than the method's order: what the error of a step begins
    /// with. None where the series ends before.
    #[must_use]
    pub fn principal_error(&self) -> Option<Vec<Number>> {
        let order = self.method_order() + 1;
        if order > self.order || order > MAX_ORDER {
            return None;
        }
        let first: usize = TREE_COUNTS[..order - 1].iter().sum();
        let residuals = self.residuals();
        let all = self.over_symmetry(|tree, _| residuals[tree].clone());
        Some(all[first..first + TREE_COUNTS[order - 1]].to_vec())
    }

    /// The 2-norm of the principal error; None where the series ends before it.
    #[must_use]
    pub fn principal_error_norm(&self) -> Option<f64> {
        let squares: f64 = self.principal_error()?.iter().map(|value| value.to_f64().powi(2)).sum();
        Some(squares.sqrt())
    }

    /// The longest step whose leading error stays below `tolerance`, in the time in which elementary differentials are of
    /// size 1: (tolerance / |principal error|)^(1 / (p + 1)).
    #[must_use]
    pub fn longest_step(&self, tolerance: f64) -> Option<f64> {
        let order = u32::try_from(self.method_order() + 1).ok()?;
        Some((tolerance / self.principal_error_norm()?).powf(1.0 / f64::from(order)))
    }

    fn over_symmetry(&self, value: impl Fn(usize, &Number) -> Number) -> Vec<Number> {
        let symmetries = forest().symmetries();
        let each = |(tree, weight): (usize, &Number)| {
            value(tree, weight).times_ratio(&BigRational::new_raw(One::one(), symmetries[tree].into()))
        };
        self.weights.iter().enumerate().map(each).collect()
    }
}
