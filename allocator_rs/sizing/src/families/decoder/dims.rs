//! The dimensions that a decoder's rules share, under whatever names a config gives them.

use std::sync::Arc;

use crate::cache::CacheKind;
use crate::config::Fields;
use crate::families::style::{Attention, Dense, Positions, Style};
use crate::families::{axis, divide};
use crate::math::product;
use crate::model::{Axis, Layers, Shape};
use crate::{Result, SizingError};

pub(super) const WHAT: &str = "a parameter's size";

/// Layers of models whose layers differ are listed one by one, so there is an end to them.
const MAX_MARKED_LAYERS: u64 = 4_096;

const HIDDEN: &[&str] = &["hidden_size", "n_embd", "d_model", "n_embed"];

const LAYERS: &[&str] = &["num_hidden_layers", "n_layer", "n_layers", "num_layers"];

const HEADS: &[&str] = &["num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads"];

const INNER: &[&str] = &["intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"];

const CONTEXT: &[&str] = &["max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx"];

/// Where a model of computed positions does not say how far it reaches.
const DEFAULT_CONTEXT: u64 = 2_048;

/// Dimensions that the rules share.
pub(in crate::families) struct Dims {
    pub hidden: u64,
    pub layers: u64,
    pub heads: u64,
    pub kv_heads: u64,
    pub head_dim: u64,
    pub inner: u64,
    pub vocabulary: u64,
    pub context: u64,
}

impl Dims {
    /// Read the fields by any of their names.
    pub fn read(style: &Style, fields: &Fields) -> Result<Self> {
        let hidden = fields.count_any(HIDDEN, None)?;
        let layers = fields.count_any(LAYERS, None)?;
        let heads = fields.count_any(HEADS, None)?;
        let kv_heads = kv_heads(style, fields, heads)?;
        let head_dim = match style.head_dim {
            _ if fields.has("head_dim") => fields.count("head_dim", None)?,
            Some(fixed) if !fields.is_null("head_dim") => fixed,
            _ => divide("num_attention_heads", hidden, heads)?,
        };
        let four = if style.inner_times_four { Some(product("n_inner", &[4, hidden])?) } else { None };
        let inner = match style.experts {
            Some(mixture) if mixture.dense == Dense::Nowhere => fields.count_any(&[mixture.width], four)?,
            Some(mixture) if mixture.dense == Dense::Listed => fields.count_any(&["intermediate_size_mlp"], None)?,
            _ => fields.count_any(INNER, four)?,
        };
        let context = match style.positions {
            Positions::Table(_) => fields.count_any(CONTEXT, None)?,
            Positions::Computed => fields.count_any(CONTEXT, Some(DEFAULT_CONTEXT))?,
        };
        Ok(Self {
            hidden,
            layers,
            heads,
            kv_heads,
            head_dim,
            inner,
            vocabulary: fields.count("vocab_size", None)?,
            context,
        })
    }

    pub fn hidden(&self) -> Axis {
        axis("hidden_size", self.hidden)
    }

    pub fn query(&self) -> Result<Axis> {
        Ok(axis("num_attention_heads", product(WHAT, &[self.heads, self.head_dim])?))
    }

    pub fn key(&self) -> Result<Axis> {
        Ok(axis("num_key_value_heads", product(WHAT, &[self.kv_heads, self.head_dim])?))
    }

    /// Marks of the layers for which `holds` is true.
    pub fn marked(&self, holds: impl Fn(u64) -> bool) -> Result<Layers> {
        marked(self.layers, holds)
    }

    pub const fn shape(&self, tied: bool) -> Shape {
        Shape {
            hidden: self.hidden,
            layers: self.layers,
            layers_field: "num_hidden_layers",
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            intermediate: self.inner,
            vocabulary: self.vocabulary,
            max_context: self.context,
            labels: 0,
            tied,
            buffer_bytes: self.head_dim.saturating_div(2).saturating_mul(8),
        }
    }

    pub const fn full_cache(&self) -> CacheKind {
        CacheKind::Full { heads: self.kv_heads, key_dim: self.head_dim, value_dim: self.head_dim }
    }
}

/// Whether a layer is the last of `period` ones; never where that is 0.
pub(super) const fn is_nth(layer: u64, period: u64) -> bool {
    matches!(layer.saturating_add(1).checked_rem(period), Some(0))
}

/// Marks of the layers for which `holds` is true.
pub(crate) fn marked(layers: u64, holds: impl Fn(u64) -> bool) -> Result<Layers> {
    if layers > MAX_MARKED_LAYERS {
        let (field, value) = ("num_hidden_layers", layers.to_string());
        return Err(SizingError::FieldInvalid { field, value, expected: "at most 4096 where layers differ" });
    }
    let marks: Arc<[bool]> = (0..layers).map(holds).collect();
    Ok(if marks.iter().all(|mark| *mark) { Layers::All } else { Layers::Marked(marks) })
}

fn kv_heads(style: &Style, fields: &Fields, heads: u64) -> Result<u64> {
    let one = || fields.flag("multi_query", true).map(|one| if one { 1 } else { heads });
    let found = match style.attention {
        Attention::Falcon if fields.flag("new_decoder_architecture", false)? => {
            fields.count("num_kv_heads", Some(heads))?
        }
        Attention::MultiQuery | Attention::Falcon => one()?,
        Attention::AllHeads => heads,
        Attention::Latent(_) => return fields.count("num_key_value_heads", Some(heads)),
        Attention::Heads => match style.kv_heads {
            Some(fixed) if !fields.is_null("num_key_value_heads") => {
                fields.count("num_key_value_heads", Some(fixed))?
            }
            _ => fields.count("num_key_value_heads", Some(heads))?,
        },
    };
    divide("num_key_value_heads", heads, found)?;
    Ok(found)
}
