//! The reservoir that goes with a model: size class, membrane tree, time constants and bytes.
//!
//! The class follows from the counted parameters and never from a model's name. Trees are canonical level sequences after
//! Beyer and Hedetniemi, "Constant time generation of rooted trees" (1980): preorder, the root on level 1, of all
//! orderings of the children the largest sequence.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

mod density;
mod error;

pub use density::givens_layers;
pub use error::ReservoirError;
pub use trees::default_tree;

/// Units of one membrane.
pub const UNITS_PER_MEMBRANE: u64 = 64;
/// No time constant is longer, in tokens: a request's state starts anew, so it has only its own tokens to remember.
pub const MAX_TIME_CONSTANT: f64 = 32.0;
/// Each level remembers this much longer than the one above.
const LEVEL_RATIO: f64 = 0.6;
/// Inputs: log-probability, entropy, and two event flags.
pub const INPUTS: u64 = 4;
/// Entries of the parent's coupling in each row.
const COUPLINGS_PER_ROW: u64 = 4;
const FLOAT_BYTES: u64 = 4;
/// Spectral radii are below it: nearer to 1, rounding decides whether a network forgets.
pub const RADIUS_LIMIT: f64 = 1.0 - 1e-6;

/// A row of the size class table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeClass {
    /// `small`, `medium` or `large`.
    pub name: &'static str,
    /// Parameters below which the class applies.
    pub below: u64,
    /// Levels of the tree.
    pub depth: u32,
    /// Units in all membranes.
    pub units: u64,
}

/// The size classes, the smallest first.
pub const CLASSES: [SizeClass; 3] = [
    SizeClass { name: "small", below: 10_000_000_000, depth: 4, units: 512 },
    SizeClass { name: "medium", below: 40_000_000_000, depth: 6, units: 1_024 },
    SizeClass { name: "large", below: u64::MAX, depth: 8, units: 2_048 },
];

/// The class of a model by its counted parameters.
#[must_use]
pub fn size_class(parameter_count: u64) -> SizeClass {
    let [small, medium, large] = CLASSES;
    if parameter_count < small.below {
        small
    } else if parameter_count < medium.below {
        medium
    } else {
        large
    }
}

/// A caller's changes to the defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Spectral radius, and 2-norm, of each membrane's own matrix.
    pub spectral_radius: f64,
    /// Leak of the root at one token a step.
    pub leak: f64,
    /// Scale of the input weights.
    pub input_scale: f64,
    /// Share of non-zeros in each membrane's own matrix; see [`givens_layers`].
    pub block_density: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { spectral_radius: 0.85, leak: 0.3, input_scale: 0.15, block_density: 0.125 }
    }
}

impl Settings {
    fn check(&self) -> Result<(), ReservoirError> {
        let rules = [
            ("spectral_radius", self.spectral_radius, RADIUS_LIMIT, "above 0 and below 0.999999"),
            ("leak", self.leak, 1.0, "above 0 and below 1"),
            ("input_scale", self.input_scale, 10.0, "above 0 and below 10"),
        ];
        for (name, value, limit, expected) in rules {
            if !(value > 0.0 && value < limit) {
                return Err(ReservoirError::OverrideInvalid { name, value, expected });
            }
        }
        Ok(())
    }
}

/// A reservoir's parameters and memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Reservoir {
    /// The class.
    pub class: SizeClass,
    /// Canonical level sequence of the membranes, the root on level 1.
    pub tree: Vec<u32>,
    /// Tokens, one a level, the root's first.
    pub level_time_constants: Vec<f64>,
    /// Bytes of one stream's state.
    pub bytes_per_stream: u64,
    /// Bytes of the weights, which all streams share.
    pub weight_bytes: u64,
    /// Bytes of the weights and of all streams.
    pub total_bytes: u64,
}

/// The reservoir of a model of so many parameters that is listened to in so many streams at once.
///
/// # Errors
/// [`ReservoirError`].
pub fn reservoir(parameter_count: u64, streams: u64, settings: Settings) -> Result<Reservoir, ReservoirError> {
    settings.check()?;
    let layers = u64::from(givens_layers(settings.block_density)?);
    let class = size_class(parameter_count);
    let membranes = class.units / UNITS_PER_MEMBRANE;
    let bytes_per_stream = stream_bytes(class.units);
    let weight_bytes = weight_bytes(membranes, class.units, layers);
    let total_bytes = streams
        .checked_mul(bytes_per_stream)
        .and_then(|bytes| bytes.checked_add(weight_bytes))
        .ok_or(ReservoirError::Overflow)?;
    Ok(Reservoir {
        class,
        tree: default_tree(membranes, class.depth),
        level_time_constants: time_constants(settings.leak, class.depth),
        bytes_per_stream,
        weight_bytes,
        total_bytes,
    })
}

/// Time constants by level: the root's gives `leak` at one token a step; each level's is longer by 1/0.6, up to 32 tokens.
fn time_constants(leak: f64, depth: u32) -> Vec<f64> {
    let root = (-1.0 / (-leak).ln_1p()).min(MAX_TIME_CONSTANT);
    let next = |tau: &f64| Some((tau / LEVEL_RATIO).min(MAX_TIME_CONSTANT));
    std::iter::successors(Some(root), next).zip(0..depth).map(|(tau, _)| tau).collect()
}

/// State in f32, position, step count, generation and a place in the list of free streams, as `network::Streams` keeps it.
const fn stream_bytes(units: u64) -> u64 {
    units.saturating_mul(FLOAT_BYTES).saturating_add(8 + 8 + 4 + 4)
}

/// A membrane's signed permutation, rotations, input weights, bias and coupling, as `network::Network` keeps them; and one
/// readout of all units and a bias. A layer pairs all units and keeps a cosine and a sine a pair.
const fn weight_bytes(membranes: u64, units: u64, layers: u64) -> u64 {
    let indices = 1_u64.saturating_add(COUPLINGS_PER_ROW);
    let floats = 2_u64.saturating_add(COUPLINGS_PER_ROW).saturating_add(layers).saturating_add(INPUTS);
    let row = indices.saturating_add(FLOAT_BYTES.saturating_mul(floats));
    let all = membranes.saturating_mul(UNITS_PER_MEMBRANE).saturating_mul(row);
    all.saturating_add(FLOAT_BYTES.saturating_mul(INPUTS).saturating_mul(units.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::{RADIUS_LIMIT, Settings, reservoir, size_class};

    #[test]
    fn the_class_follows_the_count() {
        let names =
            [0, 9_999_999_999, 10_000_000_000, 39_999_999_999, 40_000_000_000, u64::MAX].map(|p| size_class(p).name);
        assert_eq!(names, ["small", "small", "medium", "medium", "large", "large"]);
    }

    #[test]
    fn time_constants_grow_up_to_the_cap() {
        let large = reservoir(70_000_000_000, 1, Settings::default()).unwrap();
        let expected = [2.804, 4.673, 7.788, 12.980, 21.634, 32.0, 32.0, 32.0];
        assert_eq!(large.level_time_constants.len(), expected.len());
        for (found, wanted) in large.level_time_constants.iter().zip(expected) {
            assert!((found - wanted).abs() < 1e-3, "{found} {wanted}");
        }
    }

    #[test]
    fn the_root_leaks_what_was_asked_for() {
        let settings = Settings { leak: 0.4, ..Settings::default() };
        let small = reservoir(1, 1, settings).unwrap();
        assert!((1.0 - (-1.0 / small.level_time_constants[0]).exp() - 0.4).abs() < 1e-12);
    }

    #[test]
    fn bytes_are_weights_and_streams() {
        let small = reservoir(1, 8, Settings::default()).unwrap();
        assert_eq!(small.bytes_per_stream, 4 * 512 + 24);
        assert_eq!(small.weight_bytes, 512 * (5 + 4 * (2 + 4 + 3 + 4)) + 4 * 4 * 513);
        assert_eq!(small.total_bytes, small.weight_bytes + 8 * small.bytes_per_stream);
        assert!(reservoir(1, u64::MAX, Settings::default()).is_err());
    }

    #[test]
    fn a_layer_of_rotations_takes_a_float_a_unit() {
        let dense = Settings { block_density: 1.0, ..Settings::default() };
        let sparse = Settings { block_density: 1.0 / 64.0, ..Settings::default() };
        let [dense, default, sparse] =
            [dense, Settings::default(), sparse].map(|settings| reservoir(1, 8, settings).unwrap());
        assert_eq!(dense.weight_bytes - default.weight_bytes, 3 * 4 * 512);
        assert_eq!(default.weight_bytes - sparse.weight_bytes, 3 * 4 * 512);
        assert_eq!(dense.total_bytes - sparse.total_bytes, 6 * 4 * 512);
        assert!(reservoir(1, 1, Settings { block_density: 0.1, ..Settings::default() }).is_err());
    }

    #[test]
    fn overrides_are_checked() {
        for bad in [1.0, 0.0, -0.1, f64::NAN, f64::INFINITY] {
            let radius = Settings { spectral_radius: bad, ..Settings::default() };
            let leak = Settings { leak: bad, ..Settings::default() };
            assert!(reservoir(1, 1, radius).is_err());
            assert!(reservoir(1, 1, leak).is_err());
        }
        assert!(reservoir(1, 1, Settings { input_scale: f64::NAN, ..Settings::default() }).is_err());
        assert!(reservoir(1, 1, Settings { spectral_radius: RADIUS_LIMIT, ..Settings::default() }).is_err());
    }
}
