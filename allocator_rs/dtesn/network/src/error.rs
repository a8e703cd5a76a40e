//! What can be wrong with a request.

use trees::TreeError;

use crate::MIN_STEP;

/// What is wrong with a request; nothing has changed where one is returned.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NetworkError {
    /// A setting is out of range.
    #[error("{name} is {value}; it must be {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What the caller gave.
        value: f64,
        /// What would be accepted.
        expected: &'static str,
    },
    /// The membranes form no tree.
    #[error("the membranes form no tree: {0}")]
    Tree(#[from] TreeError),
    /// An array has another size than the network asks for.
    #[error("{name} has {found} values; {expected} are needed")]
    Width {
        /// Which array.
        name: &'static str,
        /// Its values.
        found: usize,
        /// Values that are needed.
        expected: usize,
    },
    /// An input is NaN or infinite.
    #[error("input {column} of row {row} is {value}; inputs must be finite")]
    NotFinite {
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// The value.
        value: f32,
    },
    /// A step in time that has no meaning.
    #[error("dt of row {row} is {value} tokens; it must be finite and at least {MIN_STEP}")]
    TimeStep {
        /// Row, from 0.
        row: usize,
        /// The value, in tokens.
        value: f64,
    },
    /// A position that is not behind the last one of its stream.
    #[error("row {row} is at token {position}, its stream is at {last} already; time must go on by {MIN_STEP}")]
    TimeReversed {
        /// Row, from 0.
        row: usize,
        /// The position, in tokens.
        position: f64,
        /// The stream's last position, in tokens.
        last: f64,
    },
    /// The stream was closed, or never opened.
    #[error("stream {id} is not open")]
    StreamUnknown {
        /// The stream.
        id: u64,
    },
    /// As many streams are open as were planned.
    #[error("all {capacity} streams are open; close one first")]
    StreamsFull {
        /// How many may be open.
        capacity: usize,
    },
    /// The network cannot change under open streams.
    #[error("{open} streams are open; a network changes only when all are closed")]
    StreamsLive {
        /// How many are open.
        open: usize,
    },
    /// The streams would take more memory than is allowed, or than there is.
    #[error("{streams} streams would take {bytes} bytes; {reason}")]
    Size {
        /// Streams asked for.
        streams: usize,
        /// Their bytes.
        bytes: u64,
        /// Why that is too much.
        reason: &'static str,
    },
    /// The bytes are no saved stream.
    #[error("no saved stream: {what}")]
    Snapshot {
        /// What is wrong with them.
        what: &'static str,
    },
    /// The stream was saved by another network.
    #[error("the stream was saved by network {found:016x}; this is {expected:016x}")]
    Mismatch {
        /// Fingerprint in the saved stream.
        found: u64,
        /// This network's.
        expected: u64,
    },
}
