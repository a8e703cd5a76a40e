//! The details in which decoders differ.

use crate::Result;
use crate::config::Fields;
use crate::families::blocks::Norm;
use crate::steps::Decoding;

/// Something that a class always has, never has, or has where its config says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// Never.
    Never,
    /// Always.
    Always,
    /// As the field says; the value where it is missing.
    Field(&'static str, bool),
}

impl Flag {
    /// Whether the config turns it on.
    ///
    /// # Errors
    /// [`crate::SizingError::FieldInvalid`].
    pub fn read(self, fields: &Fields) -> Result<bool> {
        match self {
            Self::Never => Ok(false),
            Self::Always => Ok(true),
            Self::Field(field, default) => fields.flag(field, default),
        }
    }
}

/// Norms of queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadNorm {
    /// Whether there are any.
    pub when: Flag,
    /// One weight an element of all heads, instead of one an element of a head.
    pub full: bool,
    /// Whether they have biases.
    pub bias: bool,
}

/// Which layers have a dense MLP in a model of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dense {
    /// None.
    Nowhere,
    /// The first ones: as many as the field says, by default the number.
    First(&'static str, u64),
    /// All but each `decoder_sparse_step`-th, and those that `mlp_only_layers` names.
    Step,
    /// All but those that `moe_layers` names, or each `interleave_moe_layer_step`-th; with a width of their own, `intermediate_size_mlp`.
    Listed,
    /// All but those from `moe_layer_start_index` to `moe_layer_end_index`, each `moe_layer_interval`-th.
    Ernie,
}

/// Experts that every token goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// None.
    Nowhere,
    /// One MLP as wide as the field says; 0 where it is missing.
    Width(&'static str),
    /// As many times an expert's width as the field says; 0 where it is missing or null.
    Times(&'static str),
}

/// How files keep the matrices of a layer's experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// As the engine does: one tensor for all experts.
    Together,
    /// A tensor for each expert, by Mixtral's names.
    Apart,
}

/// A mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Experts {
    /// Fields that may give their number.
    pub count: &'static [&'static str],
    /// Their number where none does.
    pub default: u64,
    /// Field that gives an expert's width.
    pub width: &'static str,
    /// Dense layers.
    pub dense: Dense,
    /// Shared experts.
    pub shared: Shared,
    /// Whether a gate of one output weighs the shared expert.
    pub shared_gate: bool,
    /// Whether router and experts have biases.
    pub bias: bool,
    /// Whether one correction an expert is a parameter.
    pub correction: bool,
    /// How files keep them.
    pub kept: Kept,
}

/// Learned positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// None: rotary or `ALiBi`.
    Computed,
    /// A table with so many rows more than the context.
    Table(u64),
}

/// Which layers see a window only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// None.
    Nowhere,
    /// All, where `sliding_window` is there; the default where the field is missing.
    Everywhere(Option<u64>),
    /// All but each n-th: the period and the window by default.
    AllBut(u64, u64),
    /// All but each n-th see the chunk they are in, `attention_chunk_size`: the period and the chunk by default.
    Chunks(u64, u64),
    /// Those from `max_window_layers` on, where `use_sliding_window` says so.
    Late,
}

impl Window {
    /// The field that gives its length.
    #[must_use]
    pub const fn field(self) -> &'static str {
        if matches!(self, Self::Chunks(..)) { "attention_chunk_size" } else { "sliding_window" }
    }

    /// The fields that may give the period of the layers that see everything.
    #[must_use]
    pub const fn period_fields(self) -> &'static [&'static str] {
        if matches!(self, Self::Chunks(..)) {
            &["no_rope_layer_interval"]
        } else {
            &["sliding_window_pattern", "_sliding_window_pattern"]
        }
    }
}

/// How attention is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// Queries, keys and values by heads.
    Heads,
    /// Keys and values from one compressed vector (MLA).
    Latent(Latent),
    /// One key and value head, whatever the config's fields for it (`multi_query`), else all.
    MultiQuery,
    /// As many key and value heads as query heads, whatever the config has.
    AllHeads,
    /// Falcon's three layouts.
    Falcon,
}

/// Widths of MLA where the config does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latent {
    /// Rank of the queries' compression.
    pub query_rank: u64,
    /// Rank of the keys' and values' compression.
    pub rank: u64,
    /// Part of a key without positions.
    pub plain: u64,
    /// Part of a key with rotary positions.
    pub rotary: u64,
    /// Value.
    pub value: u64,
}

/// One row of details.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "details of classes are independent of each other")]
pub struct Style {
    /// Norm of layers.
    pub norm: Norm,
    /// Norms of the residual width in a layer.
    pub layer_norms: u64,
    /// Norm behind the last layer.
    pub final_norm: Norm,
    /// Biases of queries, keys and values.
    pub qkv_bias: Flag,
    /// Bias of attention's output.
    pub out_bias: Flag,
    /// Biases of the MLP.
    pub mlp_bias: Flag,
    /// Norms of queries and keys.
    pub head_norm: HeadNorm,
    /// Whether the MLP has a gate.
    pub gated: bool,
    /// Learned positions.
    pub positions: Positions,
    /// Norm behind the embedding.
    pub embedding_norm: bool,
    /// Whether a buffer of one element scales the embedding.
    pub embedding_scale: bool,
    /// Whether the output embedding is the input embedding where the config does not say.
    pub tied: bool,
    /// Bias of the output embedding.
    pub head_bias: Flag,
    /// Width of a head where the config does not say; else the hidden width shared out.
    pub head_dim: Option<u64>,
    /// Key and value heads where the config does not say; else as many as query heads.
    pub kv_heads: Option<u64>,
    /// Attention.
    pub attention: Attention,
    /// Whether the MLP is four times as wide as the rest where the config does not say.
    pub inner_times_four: bool,
    /// Experts.
    pub experts: Option<Experts>,
    /// Windows.
    pub window: Window,
    /// Whether a layer has one learned number a head (attention sinks).
    pub sinks: bool,
    /// Learned numbers of the activation function, a layer.
    pub activation_parameters: u64,
    /// How a step runs, where that is known.
    pub step: Option<Decoding>,
}
