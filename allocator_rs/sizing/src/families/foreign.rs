//! Architectures that the catalogue does not have: their tensors are the parameters, and the usual fields give the cache.

use super::decoder::generic_activations;
use super::{Activations, FamilyRules, divide};
use crate::architecture::Architecture;
use crate::cache::{CacheGroup, CacheKind};
use crate::component::Workload;
use crate::config::Fields;
use crate::math::sum;
use crate::model::{Layers, Model, Shape};
use crate::{Result, SizingError};

/// Where a config does not say how far the model reaches.
const DEFAULT_CONTEXT: u64 = 2_048;

/// Whatever has the usual fields.
pub struct Foreign;

impl FamilyRules for Foreign {
    fn build(&self, _architecture: &Architecture, fields: &Fields) -> Result<Model> {
        // Models of several modalities keep the text model's fields apart.
        let nested = fields.nested("text_config")?;
        let fields = nested.as_ref().unwrap_or(fields);
        let hidden = fields.count_any(&["hidden_size", "n_embd", "d_model", "dim"], None)?;
        let layers = fields.count_any(&["num_hidden_layers", "n_layer", "n_layers", "num_layers"], None)?;
        let heads = fields.count_any(&["num_attention_heads", "n_head", "n_heads", "num_heads"], Some(1))?;
        let kv_heads = fields.count_any(&["num_key_value_heads", "num_kv_heads"], Some(heads))?;
        let head_dim = if fields.has("head_dim") {
            fields.count("head_dim", None)?
        } else {
            divide("num_attention_heads", hidden, heads)?
        };
        let four = hidden.checked_mul(4).ok_or(SizingError::Overflow { what: "a width" })?;
        let shape = Shape {
            hidden,
            layers,
            layers_field: "num_hidden_layers",
            heads,
            kv_heads,
            head_dim,
            intermediate: fields.count_any(&["intermediate_size", "n_inner", "ffn_dim", "d_ff"], Some(four))?,
            vocabulary: fields.count("vocab_size", Some(1))?,
            max_context: fields
                .count_any(&["max_position_embeddings", "n_positions", "max_seq_len"], Some(DEFAULT_CONTEXT))?,
            labels: 0,
            tied: fields.flag("tie_word_embeddings", false)?,
            buffer_bytes: 0,
        };
        let kind = if fields.has("kv_lora_rank") {
            let rotary = fields.index("qk_rope_head_dim", Some(0))?;
            CacheKind::Latent { width: sum("the cache", &[fields.count("kv_lora_rank", None)?, rotary])? }
        } else {
            CacheKind::Full { heads: kv_heads, key_dim: head_dim, value_dim: head_dim }
        };
        let mut model = Model::new(shape, Vec::new(), fields.dtype().unwrap_or(None));
        model.caches = vec![CacheGroup { kind, layers: Layers::All }];
        model.experts_per_token = fields.index("num_experts_per_tok", Some(0))?;
        Ok(model)
    }

    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations> {
        generic_activations(&model.shape, workload)
    }
}
