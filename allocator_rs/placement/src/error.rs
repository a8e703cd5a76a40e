//! What is wrong with a request.

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Two devices have one name.
    #[error("device {id} is there twice")]
    DeviceDuplicate {
        /// The name.
        id: String,
    },
    /// There is nothing to place.
    #[error("replicas must be 1 to {limit}, not {replicas}")]
    ReplicasInvalid {
        /// What was asked for.
        replicas: u64,
        /// The limit.
        limit: u64,
    },
    /// Two nodes have one name.
    #[error("node {id} is there twice")]
    NodeDuplicate {
        /// The name.
        id: String,
    },
    /// A node that nobody described.
    #[error("node {id} is unknown")]
    NodeUnknown {
        /// The name.
        id: String,
    },
    /// A node with too many GPUs, GPU models or bytes.
    #[error("node {id}: {what}")]
    NodeInvalid {
        /// The name.
        id: String,
        /// What is wrong.
        what: String,
    },
    /// Two items have one name.
    #[error("item {id} is placed already")]
    ItemDuplicate {
        /// The name.
        id: String,
    },
    /// An item that is not placed.
    #[error("item {id} is not placed")]
    ItemUnknown {
        /// The name.
        id: String,
    },
    /// An item that asks for what cannot be.
    #[error("item {id}: {what}")]
    ItemInvalid {
        /// The name.
        id: String,
        /// What is wrong.
        what: String,
    },
    /// An item that was said to be in a place where it does not fit.
    #[error("item {id} does not fit on node {node}")]
    PlaceInvalid {
        /// The item.
        id: String,
        /// The node.
        node: String,
    },
    /// A vector that fits into no bin, or a table that is not one.
    #[error("{what}")]
    VectorInvalid {
        /// What is wrong.
        what: String,
    },
}
