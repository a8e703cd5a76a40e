//! What can be wrong with a simulation.

use std::path::PathBuf;

/// Why a simulation cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// A file that is missing or unreadable.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A row with too few fields.
    #[error("a row with too few fields: {0}")]
    Row(String),
    /// A field that is no number.
    #[error("not a number: {0:?}")]
    Number(String),
    /// What the allocator refused.
    #[error(transparent)]
    Placement(#[from] placement::PlacementError),
    /// What the eviction rule refused.
    #[error(transparent)]
    Eviction(#[from] eviction::EvictionError),
    /// Wrong arguments.
    #[error(
        "usage: simulation arrivals TRACE_DIR [SEEDS [LOAD_PERCENT [CARD_TYPES]]] | cache TRACE_DIR|- [SEEDS] | churn TRACE_DIR [SEEDS [MOVES]] | vectors COUNT [INSTANCES [ROUNDS]]"
    )]
    Usage,
}
