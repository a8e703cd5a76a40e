//! What does not fit, what could make room, and what would fit instead.

use placement::Device;
use sizing::WeightDtype;

/// One way to serve a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Weights.
    pub dtype: WeightDtype,
    /// Longest sequence in tokens.
    pub context_length: u64,
    /// Sequences at once.
    pub max_concurrency: u64,
    /// Ranks that share the model.
    pub tensor_parallel: u64,
}

/// What is done to make a model fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Others go to host memory.
    Park,
    /// Ranks on several devices share the model.
    Split,
    /// Others go to disk.
    Evict,
    /// Fewer sequences at once.
    FewerSequences,
    /// Shorter sequences.
    ShorterContext,
    /// Both.
    FewerAndShorter,
    /// Weights with fewer bytes.
    SmallerDtype,
}

impl Action {
    /// The API's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Park => "park",
            Self::Split => "split",
            Self::Evict => "evict",
            Self::FewerSequences => "fewer_sequences",
            Self::ShorterContext => "shorter_context",
            Self::FewerAndShorter => "fewer_and_shorter",
            Self::SmallerDtype => "smaller_dtype",
        }
    }
}

/// What does not fit, and what could make room.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// What is wanted.
    pub wanted: Choice,
    /// Instances.
    pub replicas: u64,
    /// Devices as they stand.
    pub devices: &'a [Device],
    /// What may be parked or evicted: nothing that serves, nothing pinned.
    pub candidates: &'a [EvictionCandidate],
    /// Dtypes with fewer bytes a weight that the engine makes of these weights while it loads them, the largest first.
    pub dtypes: &'a [WeightDtype],
    /// Numbers of ranks that the engine could share the model between.
    pub splits: &'a [u64],
    /// Seconds that loading the model itself takes.
    pub reload_seconds: f64,
}

/// A choice that fits.
#[derive(Debug, Clone, PartialEq)]
pub struct Alternative {
    /// What is done.
    pub action: Action,
    /// The choice.
    pub choice: Choice,
    /// What admission reserves for one instance; for one rank of it where it is split.
    pub upper_bytes: u64,
    /// The first replica's device.
    pub device_id: String,
    /// Bytes that the choice needs less than the wish, or that are freed on devices.
    pub freed_bytes: u64,
    /// Seconds that undoing it takes.
    pub undo_seconds: f64,
    /// Names of what is parked or evicted.
    pub victims: Vec<String>,
    /// What it costs.
    pub warning: String,
}

/// Something that holds memory and could give it back.
#[derive(Debug, Clone, PartialEq)]
pub struct EvictionCandidate {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub device_id: String,
    /// What it holds there.
    pub bytes: u64,
    /// Seconds from host memory back to the device; None where it cannot be parked.
    pub wake_seconds: Option<f64>,
    /// Seconds from disk.
    pub reload_seconds: f64,
    /// How often it is expected to be asked for.
    pub uses_per_hour: f64,
}
