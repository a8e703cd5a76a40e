//! The weights of a network, drawn from its seed.

use std::mem::size_of;

use random::Random;

use crate::{Config, NetworkError};

/// Units of one membrane.
pub const UNITS: usize = 64;
/// Entries of the parent's coupling in each row.
pub const COUPLINGS: usize = 4;

/// One value a unit.
pub type Lane = [f32; UNITS];

/// Rotations of disjoint pairs that take in all units.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Cosine of each pair's angle.
    pub cosine: [f32; UNITS / 2],
    /// Sine of each pair's angle.
    pub sine: [f32; UNITS / 2],
}

/// One membrane's weights.
#[derive(Debug, Clone)]
pub struct Membrane {
    /// The membrane above; None at the root.
    pub parent: Option<usize>,
    /// From 0 at the root.
    pub level: usize,
    /// The signed permutation: unit i reads unit `source[i]` of the rotated state, times `gain[i]`.
    pub source: [u8; UNITS],
    /// Plus or minus the spectral radius.
    pub gain: Lane,
    /// The bias.
    pub bias: Lane,
    /// The parent's units that each unit reads.
    pub coupling_source: [[u8; UNITS]; COUPLINGS],
    /// And how strongly.
    pub coupling: [Lane; COUPLINGS],
    /// The rotations, the first applied first.
    pub layers: Vec<Layer>,
    /// Weights of each input.
    pub input: Vec<Lane>,
}

/// A network: fixed weights that any number of streams share.
#[derive(Debug, Clone)]
pub struct Network {
    config: Config,
    time_constants: Vec<f64>,
    fingerprint: u64,
    /// In preorder: a parent stands before its children.
    pub(crate) membranes: Vec<Membrane>,
}

impl Network {
    /// Draw a network.
    ///
    /// # Errors
    /// [`NetworkError::Setting`] and [`NetworkError::Tree`].
    pub fn new(config: &Config) -> Result<Self, NetworkError> {
        let tree = config.check()?;
        let config = Config { tree: tree.levels().to_vec(), ..config.clone() };
        let nodes = tree.parents().into_iter().zip(&config.tree).zip(0..);
        let membranes = nodes
            .map(|((parent, &level), number)| {
                membrane(&config, parent, level, &mut Random::stream(config.seed, number))
            })
            .collect();
        let time_constants = config.time_constants(tree.depth());
        let mut network = Self { config, time_constants, fingerprint: 0, membranes };
        network.fingerprint = network.digest();
        Ok(network)
    }

    /// The settings, with the tree in canonical order.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Time constants in tokens, one a level, the root's first.
    #[must_use]
    pub fn time_constants(&self) -> &[f64] {
        &self.time_constants
    }

    /// Units in all membranes.
    #[must_use]
    pub const fn units(&self) -> usize {
        self.membranes.len() * UNITS
    }

    /// Values in an input.
    #[must_use]
    pub const fn inputs(&self) -> usize {
        self.config.inputs
    }

    /// The same for two networks that give the same states.
    #[must_use]
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Bytes of the weights, which all streams share.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let own = size_of::<[u8; UNITS]>() * (1 + COUPLINGS) + size_of::<Lane>() * (2 + COUPLINGS);
        let lists =
            |membrane: &Membrane| membrane.layers.len() * size_of::<Layer>() + membrane.input.len() * size_of::<Lane>();
        self.membranes.iter().map(|membrane| own + lists(membrane)).sum()
    }

    /// Entries of all matrices that are not zero by construction: blocks, couplings and input weights.
    #[must_use]
    pub fn non_zeros(&self) -> usize {
        let row = (1 << self.config.givens_layers) + self.config.inputs;
        self.units() * row + (self.membranes.len() - 1) * UNITS * COUPLINGS
    }

    /// The block `W_v` of a membrane as a dense matrix, row by row; for tests and for those who want to look.
    ///
    /// # Errors
    /// [`NetworkError::Width`] where there is no such membrane.
    pub fn block(&self, membrane: usize) -> Result<Vec<Lane>, NetworkError> {
        let count = self.membranes.len();
        let found = self.membranes.get(membrane);
        let found = found.ok_or(NetworkError::Width { name: "membrane", found: membrane, expected: count })?;
        let mut rows = vec![[0.0; UNITS]; UNITS];
        for column in 0..UNITS {
            let mut unit = [0.0; UNITS];
            unit[column] = 1.0;
            for (row, value) in rows.iter_mut().zip(found.recur(&unit)) {
                row[column] = value;
            }
        }
        Ok(rows)
    }

    /// FNV-1a over everything that a state depends on.
    fn digest(&self) -> u64 {
        let mut hash = Fnv::default();
        self.time_constants.iter().for_each(|tau| hash.add(&tau.to_le_bytes()));
        for membrane in &self.membranes {
            hash.add(&(membrane.parent.unwrap_or(usize::MAX) as u64).to_le_bytes());
            hash.add(&membrane.source);
            membrane.coupling_source.iter().for_each(|sources| hash.add(sources));
            let lanes = [&membrane.gain, &membrane.bias].into_iter().chain(&membrane.coupling).chain(&membrane.input);
            let angles = membrane.layers.iter().flat_map(|layer| layer.cosine.iter().chain(&layer.sine));
            lanes.flatten().chain(angles).for_each(|weight| hash.add(&weight.to_le_bytes()));
        }
        hash.0
    }
}

/// FNV-1a, 64 bits: tells apart what differs by accident, not by intent.
pub struct Fnv(pub u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Take in some bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "weights are f32; units are below 64")]
fn membrane(config: &Config, parent: Option<usize>, level: u32, random: &mut Random) -> Membrane {
    let mut source: [u8; UNITS] = std::array::from_fn(|unit| unit as u8);
    (1..UNITS).rev().for_each(|place| source.swap(place, random.below(place + 1)));
    let radius = config.spectral_radius as f32;
    let gain = std::array::from_fn(|_| if random.coin() { radius } else { -radius });
    let layers = (0..config.givens_layers).map(|_| layer(random)).collect();
    let input = (0..config.inputs).map(|_| uniform(random, config.input_scale)).collect();
    let bias = uniform(random, config.bias_scale);
    let coupling_source = distinct(random);
    let scale = if parent.is_some() { config.coupling_scale } else { 0.0 };
    let coupling = std::array::from_fn(|_| uniform(random, scale));
    Membrane { parent, level: level as usize - 1, source, gain, bias, coupling_source, coupling, layers, input }
}

/// For each unit, units of the parent that differ from one another: a unit that was drawn already is drawn again.
#[allow(clippy::cast_possible_truncation, reason = "units are below 64")]
fn distinct(random: &mut Random) -> [[u8; UNITS]; COUPLINGS] {
    let mut found = [[0; UNITS]; COUPLINGS];
    for unit in 0..UNITS {
        for place in 0..COUPLINGS {
            found[place][unit] = loop {
                let drawn = random.below(UNITS) as u8;
                if found[..place].iter().all(|earlier| earlier[unit] != drawn) {
                    break drawn;
                }
            };
        }
    }
    found
}

/// Angles from the half-angle's tangent, uniform in [-1, 1): cosine and sine without a mathematics library.
#[allow(clippy::cast_possible_truncation, reason = "weights are f32")]
fn layer(random: &mut Random) -> Layer {
    let mut found = Layer { cosine: [0.0; UNITS / 2], sine: [0.0; UNITS / 2] };
    for pair in 0..UNITS / 2 {
        let tangent = random.signed();
        let square = tangent * tangent;
        found.cosine[pair] = ((1.0 - square) / (1.0 + square)) as f32;
        found.sine[pair] = (2.0 * tangent / (1.0 + square)) as f32;
    }
    found
}

#[allow(clippy::cast_possible_truncation, reason = "weights are f32")]
fn uniform(random: &mut Random, scale: f64) -> Lane {
    std::array::from_fn(|_| (scale * random.signed()) as f32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

    use std::collections::HashSet;

    use super::{COUPLINGS, Network, UNITS};
    use crate::Config;
    use reservoir::CLASSES;

    #[test]
    fn every_row_reads_four_units_of_the_parent() {
        for class in &CLASSES {
            for seed in 0..20 {
                let network = Network::new(&Config { seed, ..Config::of_class(class, 1) }).unwrap();
                for membrane in &network.membranes {
                    for unit in 0..UNITS {
                        let sources: HashSet<u8> = membrane.coupling_source.iter().map(|row| row[unit]).collect();
                        assert_eq!(sources.len(), COUPLINGS);
                        assert!(sources.iter().all(|&source| usize::from(source) < UNITS));
                    }
                }
            }
        }
    }
}
