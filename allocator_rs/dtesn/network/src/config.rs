//! What a network is made from.

use reservoir::{MAX_TIME_CONSTANT, RADIUS_LIMIT, SizeClass, UNITS_PER_MEMBRANE, default_tree};
use trees::Tree;

use crate::NetworkError;
use crate::math::ln;

/// The widest input.
pub const MAX_INPUTS: usize = 1024;
/// Each level's time constant is longer than its parent's by 1 / this.
const LEVEL_RATIO: f64 = 0.6;

/// Settings of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Level sequence of the membranes, the root on level 1.
    pub tree: Vec<u32>,
    /// Values in an input.
    pub inputs: usize,
    /// Spectral radius and 2-norm of each membrane's own matrix, above 0 and below 1.
    pub spectral_radius: f64,
    /// Leak of the root at one token a step, above 0 and at most 1; at 1 no level has a memory of its own state.
    pub leak: f64,
    /// Input weights are uniform in [-scale, scale].
    pub input_scale: f64,
    /// Biases are uniform in [-scale, scale].
    pub bias_scale: f64,
    /// The 4 couplings of a unit to its parent membrane are uniform in [-scale, scale].
    pub coupling_scale: f64,
    /// Givens layers, 0 to 6: each doubles the non-zeros of a row, so a block's density is 2^layers / 64.
    pub givens_layers: usize,
    /// Every weight follows from it.
    pub seed: u64,
}

impl Config {
    /// The defaults of a size class.
    #[must_use]
    pub fn of_class(class: &SizeClass, inputs: usize) -> Self {
        Self::new(default_tree(class.units / UNITS_PER_MEMBRANE, class.depth), inputs)
    }

    /// The defaults on a tree of the caller's.
    #[must_use]
    pub const fn new(tree: Vec<u32>, inputs: usize) -> Self {
        Self {
            tree,
            inputs,
            spectral_radius: 0.85,
            leak: 0.3,
            input_scale: 0.15,
            bias_scale: 0.15,
            coupling_scale: 0.3,
            givens_layers: 3,
            seed: 0,
        }
    }

    /// Check all settings.
    ///
    /// # Errors
    /// [`NetworkError::Setting`] and [`NetworkError::Tree`].
    pub fn check(&self) -> Result<Tree, NetworkError> {
        let open = |value: f64, limit: f64| value > 0.0 && value < limit;
        let half_open = |value: f64| (0.0..10.0).contains(&value);
        let count = |value: usize| u32::try_from(value).map_or(f64::INFINITY, f64::from);
        let (inputs, layers) = (count(self.inputs), count(self.givens_layers));
        let rules = [
            // The weights are f32, where 1 is not far.
            (
                "spectral_radius",
                self.spectral_radius,
                open(self.spectral_radius, RADIUS_LIMIT),
                "above 0 and below 0.999999",
            ),
            ("leak", self.leak, self.leak > 0.0 && self.leak <= 1.0, "above 0 and at most 1"),
            ("input_scale", self.input_scale, open(self.input_scale, 10.0), "above 0 and below 10"),
            ("bias_scale", self.bias_scale, half_open(self.bias_scale), "from 0 and below 10"),
            ("coupling_scale", self.coupling_scale, half_open(self.coupling_scale), "from 0 and below 10"),
            ("givens_layers", layers, (0..=6).contains(&self.givens_layers), "0 to 6"),
            ("inputs", inputs, (1..=MAX_INPUTS).contains(&self.inputs), "1 to 1024"),
        ];
        for (name, value, fits, expected) in rules {
            if !fits {
                return Err(NetworkError::Setting { name, value, expected });
            }
        }
        Ok(Tree::new(&self.tree)?)
    }

    /// Time constants in tokens, one a level, the root's first: the root's gives `leak` at one token a step, each level's
    /// is longer than the one above, up to 32 tokens. All 0 where the leak is 1.
    #[must_use]
    pub fn time_constants(&self, depth: u32) -> Vec<f64> {
        let root = if self.leak < 1.0 { (-1.0 / ln(1.0 - self.leak)).min(MAX_TIME_CONSTANT) } else { 0.0 };
        let next = |tau: &f64| Some((tau / LEVEL_RATIO).min(MAX_TIME_CONSTANT));
        std::iter::successors(Some(root), next).zip(0..depth).map(|(tau, _)| tau).collect()
    }
}
