//! What a sequence keeps between steps, by kind of attention.

use crate::Result;
use crate::layers::Layers;
use crate::math::{product, sum};

/// One kind of cache. Widths in elements, windows in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheKind {
    /// Keys and values of every token (MHA, GQA, MQA).
    Full {
        /// Key and value heads.
        heads: u64,
        /// Width of a key.
        key_dim: u64,
        /// Width of a value.
        value_dim: u64,
    },
    /// Keys and values of the last tokens.
    Sliding {
        /// Key and value heads.
        heads: u64,
        /// Width of a key.
        key_dim: u64,
        /// Width of a value.
        value_dim: u64,
        /// Tokens that a token sees, itself included.
        window: u64,
    },
    /// Keys and values of the chunk that a token is in.
    Chunked {
        /// Key and value heads.
        heads: u64,
        /// Width of a key.
        key_dim: u64,
        /// Width of a value.
        value_dim: u64,
        /// Tokens of a chunk.
        chunk: u64,
    },
    /// One compressed vector and one rotary key a token, shared by all heads (MLA). Ranks do not share it.
    Latent {
        /// Their width together.
        width: u64,
    },
    /// A state of fixed size (Mamba, linear attention): the last inputs of a convolution, and a matrix.
    State {
        /// Channels of the convolution.
        channels: u64,
        /// Inputs that the convolution sees.
        kernel: u64,
        /// Elements of the matrix.
        matrix: u64,
        /// Groups whose inputs are among the channels (Mamba-2); 0 without.
        groups: u64,
        /// Channels of one group.
        group_channels: u64,
    },
    /// Keys and values of the encoder's tokens.
    Cross {
        /// Key and value heads.
        heads: u64,
        /// Width of a key.
        key_dim: u64,
        /// Width of a value.
        value_dim: u64,
    },
}

impl CacheKind {
    /// Elements that one token adds to one layer on one of `ranks` ranks; 0 for states.
    ///
    /// # Errors
    /// [`crate::SizingError::Overflow`].
    pub fn token_elements(&self, ranks: u64) -> Result<u64> {
        const WHAT: &str = "a token's keys and values";
        match *self {
            Self::Full { heads, key_dim, value_dim }
            | Self::Sliding { heads, key_dim, value_dim, .. }
            | Self::Chunked { heads, key_dim, value_dim, .. }
            | Self::Cross { heads, key_dim, value_dim } => {
                product(WHAT, &[heads_of_rank(heads, ranks), sum(WHAT, &[key_dim, value_dim])?])
            }
            Self::Latent { width } => Ok(width),
            Self::State { .. } => Ok(0),
        }
    }

    /// Key and value heads of one rank; 0 where there are none.
    #[must_use]
    pub fn heads(&self, ranks: u64) -> u64 {
        match *self {
            Self::Full { heads, .. }
            | Self::Sliding { heads, .. }
            | Self::Chunked { heads, .. }
            | Self::Cross { heads, .. } => heads_of_rank(heads, ranks),
            Self::Latent { .. } | Self::State { .. } => 0,
        }
    }

    /// Channels of a state's convolution on one of `ranks` ranks; 0 for what is no state. Groups that the ranks do not divide are
    /// repeated, one a rank (vLLM 0.32, `extra_groups_for_head_shards`).
    ///
    /// # Errors
    /// [`crate::SizingError::Overflow`].
    pub fn channels(&self, ranks: u64) -> Result<u64> {
        const WHAT: &str = "a state's channels";
        let Self::State { channels, groups, group_channels, .. } = *self else { return Ok(0) };
        let own = channels.saturating_sub(product(WHAT, &[groups, group_channels])?);
        let mine = match (groups.checked_div(ranks), groups.checked_rem(ranks)) {
            (Some(share), Some(0)) => share,
            _ => 1,
        };
        sum(WHAT, &[own.div_ceil(ranks.max(1)), product(WHAT, &[mine, group_channels])?])
    }

    /// Whether it is of fixed size.
    #[must_use]
    pub const fn is_state(&self) -> bool {
        matches!(self, Self::State { .. })
    }

    /// Whether every further token of a sequence needs further bytes without end.
    #[must_use]
    pub const fn grows(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Latent { .. })
    }
}

/// Heads are shared out, and repeated where there are more ranks than heads.
fn heads_of_rank(heads: u64, ranks: u64) -> u64 {
    heads.checked_div(ranks).unwrap_or(heads).max(u64::from(heads > 0))
}

/// Layers with one kind of cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheGroup {
    /// Kind.
    pub kind: CacheKind,
    /// Layers.
    pub layers: Layers,
}
