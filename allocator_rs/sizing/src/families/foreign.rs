//! Architectures that the catalogue does not have: their tensors are the parameters, and the usual fields give the cache.

use super::decoder::generic_activations;
use super::foreign_layers::{LISTS, caches};
use super::{Activations, FamilyRules, divide};
use crate::architecture::{Architecture, Task, task_of};
use crate::component::Workload;
use crate::config::Fields;
use crate::model::{Model, Shape};
use crate::{Result, SizingError};

/// Where a config does not say how far the model reaches.
const DEFAULT_CONTEXT: u64 = 2_048;
/// Where models of several modalities keep the text model's fields.
const TEXT: [&str; 5] = ["text_config", "language_config", "llm_config", "text_model_config", "decoder_config"];

/// How many layers there are.
const LAYERS: [&str; 6] =
    ["decoder_layers", "num_decoder_layers", "num_hidden_layers", "n_layer", "n_layers", "num_layers"];

/// Whatever has the usual fields.
pub struct Foreign;

/// The layers that a config lists without saying how many they are (Nemotron-H as transformers 5 writes it).
fn listed(fields: &Fields) -> Result<Option<u64>> {
    if LAYERS.iter().any(|field| fields.has(field)) {
        return Ok(None);
    }
    for field in LISTS {
        if let Ok(Some(names)) = fields.names(field) {
            return Ok(u64::try_from(names.len()).ok());
        }
    }
    let pattern = fields.text("hybrid_override_pattern")?;
    Ok(pattern.and_then(|marks| u64::try_from(marks.chars().filter(|mark| *mark != '|').count()).ok()))
}

impl FamilyRules for Foreign {
    fn build(&self, _architecture: &Architecture, whole: &Fields) -> Result<Model> {
        let mut nested = None;
        let thinker = whole.nested("thinker_config")?;
        let outer = thinker.as_ref().unwrap_or(whole);
        for field in TEXT {
            nested = nested.or(outer.nested(field)?);
        }
        let fields = nested.as_ref().unwrap_or(outer);
        let hidden = fields.count_any(&["hidden_size", "n_embd", "d_model", "dim"], None)?;
        let layers = fields.count_any(&LAYERS, listed(fields)?)?;
        let heads = fields.count_any(
            &["decoder_attention_heads", "num_attention_heads", "n_head", "n_heads", "num_heads"],
            Some(1),
        )?;
        let grouped = fields.nested("attn_config")?.map_or(Ok(0), |nested| nested.index("kv_n_heads", Some(0)))?;
        let default = if grouped > 0 { grouped } else { heads };
        let kv_heads = fields.count_any(&["num_key_value_heads", "num_kv_heads"], Some(default))?;
        let head_dim = if fields.has("head_dim") || fields.has("attention_head_dim") {
            fields.count_any(&["head_dim", "attention_head_dim"], None)?
        } else {
            divide("num_attention_heads", hidden, heads)?
        };
        let four = hidden.checked_mul(4).ok_or(SizingError::Overflow { what: "a width" })?;
        let tied = fields.flag("tie_word_embeddings", whole.flag("tie_word_embeddings", false).unwrap_or(false));
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
            tied: tied.unwrap_or(false),
            buffer_bytes: 0,
        };
        let dtype = fields.dtype().unwrap_or(None).or(whole.dtype().unwrap_or(None));
        let mut model = Model::new(shape, Vec::new(), dtype);
        // What generates nothing keeps nothing from one call to the next.
        if whole.architecture().is_ok_and(|name| task_of(name) == Task::Generation) {
            model.caches = caches(fields, &model.shape)?;
        }
        model.experts_per_token = fields.index("num_experts_per_tok", Some(0))?;
        Ok(model)
    }

    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations> {
        generic_activations(&model.shape, workload)
    }
}
