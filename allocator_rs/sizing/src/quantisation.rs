//! How a checkpoint says that its weights are packed: the many ways in which configs write it, read as one.

use serde_json::Value;

use crate::config::{CONFIG_LIMIT_BYTES, Fields};
use crate::math::{product, sum};
use crate::model::{Model, Place, Role, Rule};
use crate::modules::Modules;
use crate::packed_format::{Reading, read};
use crate::scheme::Scheme;
use crate::source::{Source, read_bounded};
use crate::{Result, SizingError, WeightDtype};

/// Layers are gone through one by one where some of them are not converted, so there is an end to them.
const MAX_LAYERS: u64 = 4_096;
/// Where models of several modalities keep the text model's config.
const NESTED: [&str; 5] = ["text_config", "language_config", "llm_config", "thinker_config", "text_model_config"];
/// Fields that hold a quantisation, by preference: transformers', llm-compressor's old one, MLX's.
const FIELDS: [&str; 3] = ["quantization_config", "compression_config", "quantization"];

/// Where a text model's modules are in a wrapper: today's name, and older ones.
const WRAPPED: [&str; 3] = ["model.language_model.", "language_model.model.", "model."];

/// Where a head is, beside a base model of this prefix.
fn without_base(prefix: &str) -> &str {
    if prefix == "language_model.model." { "language_model." } else { "" }
}

/// A quantisation that is written in a file of its own.
pub(crate) fn beside(source: &Source) -> Result<Option<(&'static str, Fields)>> {
    for name in ["hf_quant_config.json", "quantize_config.json", "quant_config.json"] {
        if source.has(name) {
            let text = read_bounded(source.open_file(name)?, name, CONFIG_LIMIT_BYTES)?;
            return Ok(Some((name, Fields::parse(&text)?)));
        }
    }
    Ok(None)
}

/// What a config, or a file beside it, says of packed weights.
#[derive(Debug, Clone)]
pub struct Quantisation {
    /// The method as it is written.
    pub method: String,
    /// File and field, for messages.
    pub place: String,
    /// What the format is called.
    pub format: WeightDtype,
    /// Bits of one value.
    pub bits: u64,
    /// How large a matrix is; None where that takes the files, for the reason beside it.
    pub scheme: std::result::Result<Scheme, String>,
    /// Modules that stay as they are.
    pub kept: Modules,
    /// The only modules that are converted; None: all but those kept.
    pub only: Option<Modules>,
    /// Whether the output embedding is converted unless it is kept.
    pub head: bool,
    /// Whether keys and values are meant to be kept in 8 bit.
    pub cache_in_8_bit: bool,
}

impl Quantisation {
    /// Read what a config says, or else a file beside it; None where weights are not packed.
    ///
    /// # Errors
    /// [`SizingError::FieldInvalid`] where a field is of the wrong kind.
    pub fn of(fields: &Fields, beside: Option<(&'static str, Fields)>) -> Result<Option<Self>> {
        if let Some((place, found)) = in_config(fields)? {
            return read_as(format!("config.json: {place}"), &found).map(Some);
        }
        let Some((file, found)) = beside else { return Ok(None) };
        // ModelOpt puts it one level down.
        let nested = found.nested("quantization")?.unwrap_or(found);
        if nested.is_empty() { Ok(None) } else { read_as(file.to_owned(), &nested).map(Some) }
    }

    /// The bytes of a model whose files are not there: parameters that are packed, and bytes of everything.
    ///
    /// # Errors
    /// [`SizingError::DtypeUnsupported`] where the config alone does not tell; [`SizingError::Overflow`].
    pub fn estimate(&self, model: &Model, prefix: &str, element: u64) -> Result<(u64, u64)> {
        const WHAT: &str = "the stored bytes";
        let scheme = self.scheme.as_ref().map_err(|why| self.refusal(why))?;
        let towers = model.rules.iter().filter(|rule| rule.place == Place::Tower);
        if !scheme.experts_only && towers.clone().any(|rule| !self.keeps_tower(&rule.name)) {
            return Err(self.refusal("whether the vision tower is packed is told by the files alone"));
        }
        let prefixes: &[&str] = if towers.count() > 0 { &WRAPPED } else { &[prefix] };
        let (mut covered, mut bytes) = (0, 0);
        for rule in &model.rules {
            let (layers, packed) = self.packed_layers(rule, model, prefixes, scheme)?;
            let each = rule.elements()?;
            let plain = product(WHAT, &[layers.saturating_sub(packed), each, element])?;
            covered = sum(WHAT, &[covered, product(WHAT, &[packed, each])?])?;
            let held = if packed > 0 { product(WHAT, &[packed, matrices(rule, scheme)?])? } else { 0 };
            bytes = sum(WHAT, &[bytes, plain, held])?;
        }
        if let Some(text) = self.kept.unread().or(self.only.as_ref().and_then(Modules::unread)) {
            return Err(self.refusal(&format!("the expression {text:?} is not read")));
        }
        Ok((covered, bytes))
    }

    /// Outputs and inputs that share a scale; 0: a whole side of the matrix does, or it is not known.
    #[must_use]
    pub fn block(&self) -> (u64, u64) {
        match &self.scheme {
            Ok(scheme) if !scheme.experts_only => scheme.block.unwrap_or((0, scheme.group)),
            _ => (0, 0),
        }
    }

    /// How often a rule's parameter is there, and how often packed.
    fn packed_layers(&self, rule: &Rule, model: &Model, prefixes: &[&str], scheme: &Scheme) -> Result<(u64, u64)> {
        let count = model.shape.layers;
        let layers = if rule.place == Place::Layer { rule.layers.count(0, count) } else { 1 };
        let converts = match rule.role {
            Role::Linear => !scheme.experts_only,
            Role::Experts => true,
            // GPT-2's layers are linear in all but the order of their axes.
            Role::Conv1d => !scheme.experts_only && self.method != "fp8",
            Role::Embedding => scheme.embeddings && !rule.name.contains("position"),
            Role::OutputEmbedding => self.head,
            Role::Vector => false,
        };
        if !converts {
            return Ok((layers, 0));
        }
        if self.kept.is_empty() && self.only.is_none() {
            return Ok((layers, layers));
        }
        if rule.place != Place::Layer {
            return Ok((layers, u64::from(self.converts(rule, prefixes, 0))));
        }
        if count > MAX_LAYERS {
            return Err(self.refusal("it names modules of more than 4096 layers"));
        }
        let packed =
            (0..count).filter(|layer| rule.layers.holds(*layer) && self.converts(rule, prefixes, *layer)).count();
        Ok((layers, u64::try_from(packed).unwrap_or(u64::MAX)))
    }

    fn converts(&self, rule: &Rule, prefixes: &[&str], layer: u64) -> bool {
        let name = rule.name.strip_suffix(".weight").unwrap_or(&rule.name).replace("{}", &layer.to_string());
        let modules: Vec<_> = prefixes
            .iter()
            .map(|prefix| if rule.place == Place::Head { without_base(prefix) } else { prefix })
            .map(|prefix| format!("{prefix}{name}"))
            .collect();
        let named = |those: &Modules| modules.iter().any(|module| those.hold(module));
        !named(&self.kept) && self.only.as_ref().is_none_or(named)
    }

    /// Whether a tower's module stays as it is, under any of the names that it has had.
    fn keeps_tower(&self, name: &str) -> bool {
        let layer = name.strip_prefix("visual.").unwrap_or(name);
        let names =
            ["visual", "vision_tower", "vision_model", "vision_encoder"].map(|tower| format!("{tower}.{layer}"));
        names
            .iter()
            .chain([&name.to_owned()])
            .any(|name| self.kept.hold(name) || self.kept.hold(&format!("model.{name}")))
    }

    fn refusal(&self, why: &str) -> SizingError {
        SizingError::DtypeUnsupported {
            subject: format!("{}: {why}", self.place),
            dtype: self.method.clone(),
            accepted: "files beside the config, whose headers tell the size, or a format of docs/sizing.md that a config alone tells"
                .to_owned(),
        }
    }
}

/// Bytes of all matrices of one parameter: files keep the halves of a gate and its input apart.
fn matrices(rule: &Rule, scheme: &Scheme) -> Result<u64> {
    const WHAT: &str = "the stored bytes";
    let (outputs, inputs, many) = match rule.axes.as_slice() {
        [inputs, outputs] if rule.role == Role::Conv1d => (outputs.size, inputs.size, 1),
        [outputs, inputs] => (outputs.size, inputs.size, 1),
        _ => rule.matrix(),
    };
    let halves = if rule.role == Role::Experts && rule.name.contains("gate_up") && outputs % 2 == 0 { 2 } else { 1 };
    product(WHAT, &[many, halves, scheme.bytes(outputs.checked_div(halves).unwrap_or(outputs), inputs)?])
}

fn in_config(fields: &Fields) -> Result<Option<(&'static str, Fields)>> {
    for field in FIELDS {
        if let Some(found) = fields.nested(field)?.filter(|found| !found.is_empty()) {
            return Ok(Some((field, found)));
        }
    }
    for field in NESTED {
        if let Ok(Some(nested)) = fields.nested(field)
            && let Some((_, found)) = in_config(&nested)?
        {
            return Ok(Some((field, found)));
        }
    }
    Ok(None)
}

fn read_as(place: String, fields: &Fields) -> Result<Quantisation> {
    let Reading { method, format, bits, scheme, head } = read(fields)?;
    let mut kept = Modules::default();
    for field in
        ["modules_to_not_convert", "ignore", "exclude_modules", "llm_int8_skip_modules", "ignored_layers", "exclude"]
    {
        if let Some(Value::Array(names)) = fields.value(field) {
            names.iter().filter_map(Value::as_str).for_each(|name| kept.add(name));
        }
    }
    let mut scheme = scheme;
    if let Some(Value::Object(dynamic)) = fields.value("dynamic") {
        for name in dynamic.keys() {
            match name.strip_prefix("-:") {
                Some(expression) => kept.add_expression(expression),
                None => scheme = Err("modules of several formats (dynamic) are told by the files alone".to_owned()),
            }
        }
    }
    let cache = ["kv_cache_scheme", "kv_cache_quant_algo"].iter().find_map(|field| fields.value(field));
    Ok(Quantisation {
        method,
        place,
        format,
        bits,
        scheme,
        kept,
        only: targets(fields),
        head,
        cache_in_8_bit: cache.is_some_and(|value| value.is_object() || value.as_str() == Some("FP8")),
    })
}

/// The modules that compressed-tensors' groups name, where these are not all linear layers.
fn targets(fields: &Fields) -> Option<Modules> {
    let groups = fields.value("config_groups")?.as_object()?;
    let mut found = Modules::default();
    for target in groups.values().filter_map(|group| group.get("targets")?.as_array()).flatten() {
        match target.as_str() {
            Some("Linear") => return None,
            Some(name) => found.add(name),
            None => {}
        }
    }
    (!found.is_empty()).then_some(found)
}
