//! Language models beside a vision tower: the text model's own rules, and the tower's and the projector's parameters.
//!
//! The tower has no rule a tensor: its parameters count, are kept in the compute dtype, and its activations are not planned.

use super::decoder::generic_activations;
use super::defaults::{TextClass, filled, text_class};
use super::towers::Tower;
use super::{Activations, FamilyRules};
use crate::architecture::Architecture;
use crate::component::Workload;
use crate::config::Fields;
use crate::model::{Axis, Layers, Model, Place, Presence, Role, Rule, Split};
use crate::{Result, SizingError};

const TEXT: &str = "text_config";

/// A wrapper of a text model and a tower.
#[derive(Debug, Clone, Copy)]
pub struct Multimodal {
    /// The text model's `model_type`.
    pub text: &'static str,
    /// Whether the text model may be of another `model_type`, where its config says so.
    pub open: bool,
    /// Default of `tie_word_embeddings`, where neither config says.
    pub tied: bool,
    /// Tower and projector.
    pub tower: Tower,
    /// Finds the rules of a class: the catalogue's own, which names these rules and so is not named here.
    pub find: fn(&str) -> Result<&'static Architecture>,
}

impl Multimodal {
    /// The text model's class and its fields, as transformers takes them.
    fn text_of(&self, whole: &Fields) -> Result<(&'static TextClass, Fields)> {
        let nested = whole.nested(TEXT)?;
        let asked = nested.as_ref().filter(|_| self.open).map_or(Ok(None), |inner| inner.text("model_type"))?;
        let kind = asked.unwrap_or(self.text);
        let class = text_class(kind).ok_or_else(|| SizingError::FeatureUnsupported {
            field: "text_config.model_type",
            value: kind.chars().take(60).collect(),
        })?;
        // Old configs of Qwen2-VL have the text model's fields at the top, and transformers takes them from there.
        let fields = match nested {
            Some(inner) => filled(&inner, class.sizes),
            None if self.has_text_at_the_top() => filled(whole, class.sizes),
            None => whole.clone(),
        };
        Ok((class, fields))
    }

    fn has_text_at_the_top(&self) -> bool {
        matches!(self.tower, Tower::Qwen2 | Tower::Qwen2_5)
    }

    fn ties(&self, whole: &Fields, class: &TextClass, inner: &Fields) -> Result<bool> {
        const FIELD: &str = "tie_word_embeddings";
        match self.tower {
            // Llama 4's text model is a whole one, with a head of its own that only its own config ties.
            Tower::Llama4 => inner.flag(FIELD, class.tied),
            // Their configs forward what the text model's says.
            Tower::Llava | Tower::Qwen2 | Tower::Qwen2_5 => {
                Ok(whole.flag(FIELD, self.tied)? || inner.flag(FIELD, class.tied)?)
            }
            _ if whole.has(FIELD) => whole.flag(FIELD, self.tied),
            _ => inner.flag(FIELD, self.tied),
        }
    }
}

impl FamilyRules for Multimodal {
    fn build(&self, _architecture: &Architecture, whole: &Fields) -> Result<Model> {
        let (class, inner) = self.text_of(whole)?;
        let text = (self.find)(class.rules)?;
        let tied = self.ties(whole, class, &inner)?;
        let mut model = text.family.build(text, &inner.with("tie_word_embeddings", tied.into()))?;
        model.config_dtype = whole.dtype()?.or(model.config_dtype);
        let parts = self.tower.parts(whole, model.shape.hidden)?;
        model.rules.extend(parts.into_iter().map(|(name, elements)| tower_rule(name, elements)));
        Ok(model)
    }

    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations> {
        generic_activations(&model.shape, workload)
    }

    fn for_files(&self, whole: &Fields) -> Option<Fields> {
        let filled = self.text_of(whole).ok().filter(|_| whole.has(TEXT));
        Some(filled.map_or_else(|| whole.clone(), |(_, inner)| whole.with_nested(TEXT, inner)))
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
