//! Language models beside a vision tower: the text model's own rules, and the tower's and the projector's parameters.
//!
//! The tower has no rule a tensor: its parameters count, are kept in the compute dtype, and its activations are not planned.

use super::decoder::generic_activations;
use super::towers::Tower;
use super::{Activations, FamilyRules};
use crate::Result;
use crate::architecture::Architecture;
use crate::component::Workload;
use crate::config::Fields;
use crate::model::{Axis, Layers, Model, Place, Presence, Role, Rule, Split};

/// Which classes a text model may be of, by its config's `model_type`.
const TEXTS: [(&str, &str); 12] = [
    ("llama", "LlamaForCausalLM"),
    ("mistral", "MistralForCausalLM"),
    ("qwen2", "Qwen2ForCausalLM"),
    ("qwen2_vl_text", "Qwen2ForCausalLM"),
    ("qwen2_5_vl_text", "Qwen2ForCausalLM"),
    ("qwen3", "Qwen3ForCausalLM"),
    ("qwen3_vl_text", "Qwen3ForCausalLM"),
    ("qwen3_vl_moe_text", "Qwen3MoeForCausalLM"),
    ("gemma", "GemmaForCausalLM"),
    ("gemma2", "Gemma2ForCausalLM"),
    ("gemma3_text", "Gemma3ForCausalLM"),
    ("llama4_text", "Llama4ForCausalLM"),
];

/// A wrapper of a text model and a tower. `text`: class of the text model where its config does not say; `tied`: as transformers
/// ties the output embedding where neither config says.
#[derive(Debug, Clone, Copy)]
pub struct Multimodal {
    /// Class.
    pub text: &'static str,
    /// Default of `tie_word_embeddings`.
    pub tied: bool,
    /// Tower and projector.
    pub tower: Tower,
    /// Finds the rules of a class: the catalogue's own, which names these rules and so is not named here.
    pub find: fn(&str) -> Result<&'static Architecture>,
}

impl FamilyRules for Multimodal {
    fn build(&self, _architecture: &Architecture, whole: &Fields) -> Result<Model> {
        // Old configs of Qwen2-VL have the text model's fields at the top.
        let inner = whole.nested("text_config")?.unwrap_or_else(|| whole.clone());
        let kind = inner.text("model_type")?.unwrap_or_default();
        let name = TEXTS.iter().find(|(known, _)| *known == kind).map_or(self.text, |(_, name)| *name);
        let text = (self.find)(name)?;
        // Llama 4's text model is a whole one, with a head of its own that only its own config ties.
        let asked = if self.tower != Tower::Llama4 && whole.has("tie_word_embeddings") { whole } else { &inner };
        let tied = asked.flag("tie_word_embeddings", self.tied)?;
        let mut model = text.family.build(text, &inner.with("tie_word_embeddings", tied.into()))?;
        model.config_dtype = whole.dtype()?.or(model.config_dtype);
        let parts = self.tower.parts(whole, model.shape.hidden)?;
        model.rules.extend(parts.into_iter().map(|(name, elements)| tower_rule(name, elements)));
        Ok(model)
    }

    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations> {
        generic_activations(&model.shape, workload)
    }

    fn is_wrapper(&self) -> bool {
        true
    }
}

fn tower_rule(name: &'static str, elements: u64) -> Rule {
    Rule {
        name: name.into(),
        place: Place::Tower,
        layers: Layers::All,
        axes: vec![Axis { field: "vision_config", size: elements }],
        role: Role::Vector,
        split: Split::Whole,
        presence: Presence::Required,
    }
}
