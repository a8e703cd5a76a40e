//! A checkpoint: config and tensors, checked against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[allow(unused_imports, reason = "the documentation links to it")]
use crate::catalogue;
use crate::catalogue::{Architecture, Task, find};
use crate::config::{CONFIG_LIMIT_BYTES, Fields};
use crate::folder::SourceFile;
use crate::held::{LeftOut, held_bytes};
use crate::index::{Shards, read_sharded};
use crate::math::{product, sum};
use crate::model::{Model, Place, Presence, Role, Rule, Tally};
use crate::quantisation::beside;
use crate::safetensors::{Tensor, Tensors, read_header};
use crate::source::{CONFIG_NAME, SINGLE_NAME, Source, read_bounded};
use crate::tokenizer::Tokenizer;
use crate::{Result, SizingError, StoredDtype, WeightDtype};

/// What was read of a checkpoint.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Row of the catalogue; [`catalogue::FOREIGN`] for what has none.
    pub architecture: &'static Architecture,
    /// The class that the config names, or the GGUF file's architecture.
    pub name: String,
    /// What it is served for.
    pub task: Task,
    /// Dimensions and rules.
    pub model: Model,
    /// Parameters that the engine holds, by kind.
    pub tally: Tally,
    /// Parameters in the files; those that the config describes where there are no files.
    pub parameter_count: u64,
    /// The dtype of most of the parameters' bytes.
    pub stored_dtype: WeightDtype,
    /// Bytes of all tensors in the files; what they would be where there are none.
    pub stored_bytes: u64,
    /// Bytes of the tensors that an engine holds as they are stored; what they would be where there are no files.
    pub held_bytes: u64,
    /// Parameters that are stored packed.
    pub packed_parameters: u64,
    /// Outputs and inputs that share a scale where weights are stored packed; 0: a whole matrix's side does.
    pub stored_block: (u64, u64),
    /// Elements of an output embedding that the config ties and the files keep apart: the torch engine holds it, vLLM does not.
    pub separate_head: u64,
    /// Whether there are files, or a config only.
    pub has_weights: bool,
    /// Whether the engine puts parameters together of several tensors of the files, so that a load makes them beside the files' bytes.
    pub put_together: bool,
    /// Files that an engine reads, relative to the checkpoint, sorted. Empty for a config only.
    pub files: Vec<String>,
    /// The same files as they were when they were read; empty where a directory was surveyed that no load has inspected.
    pub contents: Vec<SourceFile>,
    /// What a caller should know.
    pub warnings: Vec<String>,
    /// How a config says that the weights are packed; empty where it says nothing of it.
    pub method: String,
    /// Whether the config asks for the repository's own code.
    pub asks_for_code: bool,
    /// The tokenizer's file, where there is one.
    pub tokenizer: Option<Tokenizer>,
}

impl Checkpoint {
    /// Whether the weights are stored packed in just this dtype, so that what is stored wins over any formula.
    #[must_use]
    pub fn holds(&self, dtype: WeightDtype) -> bool {
        dtype.is_quantised() && dtype == self.stored_dtype
    }

    /// The dtype that is computed in where the weights stay in theirs.
    #[must_use]
    pub fn compute_dtype(&self) -> WeightDtype {
        if self.stored_dtype.is_quantised() {
            self.model.config_dtype.unwrap_or(WeightDtype::Bf16)
        } else {
            self.stored_dtype
        }
    }

    /// Bytes of one activation, and of one weight that is not quantised.
    #[must_use]
    pub fn element_bytes(&self, dtype: WeightDtype) -> u64 {
        dtype.element_bytes(self.compute_dtype())
    }
}

/// Read a checkpoint directory: `config.json`, the headers of its safetensors files, and the names of the rest.
///
/// # Errors
/// One [`SizingError`] variant a cause.
pub fn inspect(directory: &Path, root: Option<&Path>) -> Result<Checkpoint> {
    let source = Source::open(directory, root, true)?;
    let text = read_bounded(source.open_file(CONFIG_NAME)?, CONFIG_NAME, CONFIG_LIMIT_BYTES)?;
    let (architecture, mut model) = build(&text, beside(&source)?.as_ref())?;
    let task = task_in(&source, architecture.task, &mut model);
    let (shards, tensors) = read_tensors(&source)?;
    let mut tally = Tally::of(&model.rules, model.shape.layers)?;
    let left_out = LeftOut::of(&model, &source, &shards, &tensors)?;
    let separate_head = left_out.different.as_ref().and_then(|name| tensors.get(name)).map_or(0, Tensor::elements);
    let mut found = Matched::of(architecture, &model, &tensors, &left_out)?;
    tally.add_head(separate_head)?;
    found.parameters = sum("the parameter count", &[found.parameters, separate_head])?;
    let mut warnings = found.warnings();
    warnings.extend(left_out.remarks(0));
    if found.missing_optional {
        warnings.push("the files have no pooler; the engine makes one up, and no answer depends on it".to_owned());
    }
    Ok(Checkpoint {
        architecture,
        name: architecture.name.to_owned(),
        task,
        tally,
        parameter_count: found.parameters,
        stored_dtype: found.stored_dtype(),
        stored_bytes: tensors.values().try_fold(0, |acc, tensor| sum("the stored bytes", &[acc, tensor.bytes()]))?,
        held_bytes: held_bytes(architecture, &tensors, &left_out)?,
        packed_parameters: 0,
        stored_block: (0, 0),
        separate_head,
        has_weights: true,
        put_together: found.put_together,
        files: source.engine_files(&shards.names()),
        warnings,
        method: String::new(),
        asks_for_code: false,
        tokenizer: Tokenizer::of(&source)?,
        contents: source.engine_contents(&shards.names())?,
        model,
    })
}

/// What a model is served for: a decoder beside sentence-transformers' modules is an embedding, which keeps nothing and has no head.
pub(crate) fn task_in(source: &Source, task: Task, model: &mut Model) -> Task {
    if task != Task::Generation || !source.has("modules.json") {
        return task;
    }
    model.caches.clear();
    model.rules.retain(|rule| rule.role != Role::OutputEmbedding);
    Task::Embedding
}

/// Build a checkpoint from a `config.json` alone: an estimate, exact in its parameter count.
///
/// # Errors
/// One [`SizingError`] variant a cause.
pub fn inspect_config(text: &[u8]) -> Result<Checkpoint> {
    let (architecture, model) = build(text, None)?;
    estimate(architecture, model)
}

/// What a config alone tells.
pub(crate) fn estimate(architecture: &'static Architecture, model: Model) -> Result<Checkpoint> {
    let tally = Tally::of(&model.rules, model.shape.layers)?;
    let stored_dtype = model.config_dtype.unwrap_or(WeightDtype::Fp32);
    let element = stored_dtype.element_bytes(stored_dtype);
    Ok(Checkpoint {
        architecture,
        name: architecture.name.to_owned(),
        task: architecture.task,
        tally,
        parameter_count: tally.parameters,
        stored_dtype,
        stored_bytes: product("the stored bytes", &[tally.parameters, element])?,
        held_bytes: product("the stored bytes", &[tally.parameters, element])?,
        packed_parameters: 0,
        stored_block: (0, 0),
        separate_head: 0,
        has_weights: false,
        put_together: false,
        files: Vec::new(),
        contents: Vec::new(),
        warnings: vec!["no weights were read: this is an estimate from the config".to_owned()],
        method: String::new(),
        asks_for_code: false,
        tokenizer: None,
        model,
    })
}

fn build(text: &[u8], beside: Option<&(&'static str, Fields)>) -> Result<(&'static Architecture, Model)> {
    let fields = Fields::parse(text)?;
    fields.refuse_foreign()?;
    let architecture = find(fields.architecture()?)?;
    if let Some((file, found)) = beside.filter(|(_, found)| !found.is_empty()) {
        return Err(SizingError::SourceUnsupported {
            file: (*file).to_owned(),
            field: "quantization",
            detail: format!("{} is not served by the torch engine", found.algorithm()),
        });
    }
    let model = architecture.family.build(architecture, &fields)?;
    crate::strict::check(&fields)?;
    Ok((architecture, model))
}

pub(crate) fn read_tensors(source: &Source) -> Result<(Shards, Tensors)> {
    if source.is_sharded() {
        let (index, tensors) = read_sharded(source)?;
        return Ok((Shards::Many(index), tensors));
    }
    let tensors = read_header(source.open_file(SINGLE_NAME)?, SINGLE_NAME)?;
    Ok((Shards::One(SINGLE_NAME.to_owned()), tensors))
}

/// The rules' parameters as the files have them.
struct Matched {
    parameters: u64,
    bytes_by_dtype: BTreeMap<StoredDtype, u64>,
    missing_optional: bool,
    unused: u64,
    put_together: bool,
}

impl Matched {
    fn of(architecture: &Architecture, model: &Model, tensors: &Tensors, left_out: &LeftOut) -> Result<Self> {
        let prefix = find_prefix(architecture, tensors)?;
        let normal: BTreeMap<String, (&str, &Tensor)> =
            tensors.iter().map(|(name, tensor)| (modern_name(name), (name.as_str(), tensor))).collect();
        check_layers(architecture, model, prefix, &normal)?;
        let mut matched = Self {
            parameters: 0,
            bytes_by_dtype: BTreeMap::new(),
            missing_optional: false,
            unused: 0,
            put_together: false,
        };
        let mut used = BTreeSet::new();
        for rule in &model.rules {
            let copies = if rule.place == Place::Layer { model.shape.layers } else { 1 };
            for layer in 0..copies {
                let name = tensor_name(rule, prefix, layer);
                match normal.get(&name) {
                    Some((stored, tensor)) => {
                        matched.add(rule, stored, tensor)?;
                        used.insert(name);
                    }
                    None if rule.presence == Presence::Optional => matched.missing_optional = true,
                    None => {
                        let place = (prefix, layer);
                        matched.add_parts(architecture, rule, place, &normal, &mut used)?;
                    }
                }
            }
        }
        let named = |name: &String| left_out.holds(name) || left_out.different.as_ref() == Some(name);
        for name in normal.keys().filter(|name| !used.contains(*name) && !architecture.family.is_buffer(name)) {
            if named(name) {
                continue;
            }
            if !architecture.family.is_unused(name) {
                let architecture = architecture.name.to_owned();
                return Err(SizingError::TensorUnexpected { tensor: name.clone(), architecture });
            }
            matched.unused = matched.unused.saturating_add(1);
        }
        Ok(matched)
    }

    /// A parameter that files keep under another name, or in several tensors.
    fn add_parts(
        &mut self,
        architecture: &Architecture,
        rule: &Rule,
        (prefix, layer): (&str, u64),
        tensors: &BTreeMap<String, (&str, &Tensor)>,
        used: &mut BTreeSet<String>,
    ) -> Result<()> {
        let mut number = 0_u64;
        // A config may ask for any number of parts: the first one that is missing ends it.
        while let Some(part) = architecture.family.part(rule, number) {
            let name = tensor_name(&part, prefix, layer);
            let Some((stored, tensor)) = tensors.get(&name) else {
                return Err(SizingError::TensorMissing { tensor: name });
            };
            self.add(&part, stored, tensor)?;
            used.insert(name);
            number = number.saturating_add(1);
        }
        self.put_together |= number > 1;
        if number == 0 { Err(SizingError::TensorMissing { tensor: tensor_name(rule, prefix, layer) }) } else { Ok(()) }
    }

    fn add(&mut self, rule: &Rule, name: &str, tensor: &Tensor) -> Result<()> {
        check_axes(rule, name, tensor)?;
        if tensor.dtype.as_weight().is_none() {
            return Err(SizingError::DtypeUnsupported {
                subject: format!("tensor {name}"),
                dtype: tensor.dtype.name().to_owned(),
                accepted: "F32, F16, BF16".to_owned(),
            });
        }
        self.parameters = sum("the parameter count", &[self.parameters, tensor.elements()])?;
        let bytes = self.bytes_by_dtype.entry(tensor.dtype).or_default();
        *bytes = sum("the stored bytes", &[*bytes, tensor.bytes()])?;
        Ok(())
    }

    /// The dtype with the most bytes; of equals the most precise one.
    fn stored_dtype(&self) -> WeightDtype {
        let most = self.bytes_by_dtype.iter().max_by_key(|(dtype, bytes)| (**bytes, dtype.bits()));
        most.and_then(|(dtype, _)| dtype.as_weight()).unwrap_or(WeightDtype::Fp32)
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.bytes_by_dtype.len() > 1 {
            let names: Vec<_> = self.bytes_by_dtype.keys().map(|dtype| dtype.name()).collect();
            let dtype = self.stored_dtype();
            warnings.push(format!("the files mix {}; all is loaded as {dtype}", names.join(" and ")));
        }
        if self.unused > 0 {
            warnings
                .push(format!("{} tensors of the files are no parameters of this model and are left out", self.unused));
        }
        warnings
    }
}

/// The prefix that the files' base model carries: the architecture's own, or none.
fn find_prefix(architecture: &Architecture, tensors: &Tensors) -> Result<&'static str> {
    let anchor = architecture.family.anchor().unwrap_or("");
    let prefixed = format!("{}{anchor}", architecture.prefix);
    if tensors.contains_key(&prefixed) {
        Ok(architecture.prefix)
    } else if tensors.contains_key(anchor) {
        Ok("")
    } else {
        Err(SizingError::TensorMissing { tensor: prefixed })
    }
}

/// Names that older versions of transformers gave to norms' parameters.
fn modern_name(name: &str) -> String {
    match (name.strip_suffix(".gamma"), name.strip_suffix(".beta")) {
        (Some(stem), _) => format!("{stem}.weight"),
        (_, Some(stem)) => format!("{stem}.bias"),
        _ => name.to_owned(),
    }
}

fn tensor_name(rule: &Rule, prefix: &str, layer: u64) -> String {
    match rule.place {
        Place::Head | Place::Tower => rule.name.clone().into_owned(),
        Place::Base => format!("{prefix}{}", rule.name),
        Place::Layer => format!("{prefix}{}", rule.name.replace("{}", &layer.to_string())),
    }
}

/// The files must have exactly the config's number of layers.
fn check_layers(
    architecture: &Architecture,
    model: &Model,
    prefix: &str,
    tensors: &BTreeMap<String, (&str, &Tensor)>,
) -> Result<()> {
    let Some((stem, _)) = model.rules.iter().find_map(|rule| rule.name.split_once("{}")) else {
        return Ok(());
    };
    let stem = format!("{prefix}{stem}");
    let layer_of = |name: &String| name.strip_prefix(&stem)?.split('.').next()?.parse::<u64>().ok();
    let last = tensors
        .iter()
        .filter(|(name, _)| !architecture.family.is_buffer(name))
        .filter_map(|(name, (stored, _))| Some((layer_of(name)?, *stored)))
        .max();
    let (found, tensor) = last.map_or((0, stem.as_str()), |(index, stored)| (index.saturating_add(1), stored));
    if found == model.shape.layers {
        return Ok(());
    }
    Err(SizingError::ConfigMismatch {
        field: model.shape.layers_field,
        config: model.shape.layers,
        found,
        tensor: tensor.to_owned(),
    })
}

fn check_axes(rule: &Rule, name: &str, tensor: &Tensor) -> Result<()> {
    if tensor.shape.len() != rule.axes.len() {
        let first = rule.axes.first().map_or("hidden_size", |axis| axis.field);
        let [config, found] = [rule.axes.len(), tensor.shape.len()].map(|axes| u64::try_from(axes).unwrap_or(u64::MAX));
        return Err(SizingError::ConfigMismatch { field: first, config, found, tensor: format!("{name} (axes)") });
    }
    for (axis, &found) in rule.axes.iter().zip(tensor.shape.iter()) {
        if axis.size != found {
            let tensor = name.to_owned();
            return Err(SizingError::ConfigMismatch { field: axis.field, config: axis.size, found, tensor });
        }
    }
    Ok(())
}
