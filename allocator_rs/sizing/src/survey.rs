//! Whatever can be sized, served by the embedded engine or not: directories, GGUF files, a config alone.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use files::open_regular;
use gguf::{Header, Value};

use crate::cache::{CacheGroup, CacheKind};
use crate::catalogue::{Architecture, FOREIGN, Task, find_any, task_of};
use crate::checkpoint::{estimate, read_tensors};
use crate::config::{CONFIG_LIMIT_BYTES, Fields};
use crate::dtype::StoredDtype;
use crate::families::decoder::marked;
use crate::math::{product, sum};
use crate::model::{Layers, Model, Shape, Tally};
use crate::safetensors::Tensors;
use crate::source::{CONFIG_NAME, Source, describe, file_name, read_bounded};
use crate::tokenizer::Tokenizer;
use crate::{Checkpoint, Result, SizingError, WeightDtype};

/// Read a directory, a GGUF file or a `config.json`.
///
/// An architecture that the catalogue does not have is answered by its tensors; a model that brings code is sized and not
/// run.
///
/// # Errors
/// One [`SizingError`] variant a cause; [`SizingError::ArchitectureUnknown`] where there are no tensors either.
pub fn survey(path: &Path, root: Option<&Path>) -> Result<Checkpoint> {
    if path.is_dir() {
        return survey_directory(path, root);
    }
    let name = file_name(path);
    let file = open_regular(path).map_err(|error| describe(&name, &error))?;
    if name.to_ascii_lowercase().ends_with(".gguf") {
        return survey_gguf(file, name);
    }
    survey_config(&read_bounded(file, &name, CONFIG_LIMIT_BYTES)?)
}

/// Read a config alone: an estimate, exact in its parameter count.
///
/// # Errors
/// As [`survey`].
pub fn survey_config(text: &[u8]) -> Result<Checkpoint> {
    let fields = Fields::parse(text)?;
    let architecture = find_any(fields.architecture()?)?;
    let mut checkpoint = estimate(architecture, architecture.family.build(architecture, &fields)?)?;
    if let Some(dtype) = fields.quantisation()? {
        checkpoint.stored_dtype = dtype;
        let (covered, packed) = crate::weights::quantised(&checkpoint.tally, dtype, true)?;
        let kept = checkpoint.tally.parameters.saturating_sub(covered);
        checkpoint.stored_bytes = sum("the stored bytes", &[packed, product("the stored bytes", &[2, kept])?])?;
    }
    remark(&mut checkpoint, false);
    Ok(checkpoint)
}

fn survey_directory(directory: &Path, root: Option<&Path>) -> Result<Checkpoint> {
    let source = Source::open(directory, root, false)?;
    let mut files = source.gguf_names();
    if !source.has(CONFIG_NAME)
        && let Some(name) = files.next()
    {
        return match files.next() {
            None => survey_gguf(source.open_file(name)?, name.rsplit('/').next().unwrap_or(name).to_owned()),
            Some(_) => Err(SizingError::FileUnreadable {
                file: "the directory".to_owned(),
                detail: "it holds several GGUF files: name one".to_owned(),
            }),
        };
    }
    let text = read_bounded(source.open_file(CONFIG_NAME)?, CONFIG_NAME, CONFIG_LIMIT_BYTES)?;
    if !source.is_sharded() && !source.has(crate::source::SINGLE_NAME) {
        return survey_config(&text);
    }
    let fields = Fields::parse(&text)?;
    let (shards, tensors) = read_tensors(&source)?;
    let mut checkpoint = from_tensors(&fields, &tensors)?;
    checkpoint.files = source.engine_files(&shards);
    checkpoint.tokenizer = Tokenizer::of(&source)?;
    remark(&mut checkpoint, source.has_code());
    Ok(checkpoint)
}

/// What the files' headers say, with the config's dimensions.
fn from_tensors(fields: &Fields, tensors: &Tensors) -> Result<Checkpoint> {
    let name = fields.architecture()?;
    let known = find_any(name);
    let architecture: &'static Architecture = known.as_ref().map_or(&FOREIGN, |row| *row);
    let model = architecture.family.build(architecture, fields)?;
    let mut tally = Tally::of(&model.rules, model.shape.layers)?;
    let found = Found::of(architecture, tensors)?;
    let quantised = fields.quantisation()?;
    let mut warnings = Vec::new();
    if known.is_err() {
        tally = found.tally;
        warnings
            .push(format!("the catalogue has no {name:.80}: weights are the files' tensors, the rest is unverified"));
    } else if quantised.is_none() && found.tally.parameters != tally.parameters {
        let apart = sum("the parameter count", &[tally.parameters, model.mtp_parameters])?;
        if model.mtp_parameters == 0 || found.tally.parameters != apart {
            let (files, config) = (found.tally.parameters, tally.parameters);
            warnings
                .push(format!("the files hold {files} parameters and the config describes {config}: the files count"));
            tally.parameters = files;
        }
    }
    let (stored, plain) = (found.bytes, found.dtype.as_weight());
    let stored_dtype = quantised.or(plain).or(model.config_dtype).unwrap_or(WeightDtype::Bf16);
    Ok(Checkpoint {
        architecture,
        name: name.chars().take(80).collect(),
        task: known.map_or_else(|_| task_of(name), |row| row.task),
        parameter_count: tally.parameters,
        tally,
        stored_dtype,
        stored_bytes: stored,
        has_weights: true,
        put_together: is_put_together(architecture, &model, tensors),
        files: Vec::new(),
        contents: Vec::new(),
        warnings,
        tokenizer: None,
        model,
    })
}

/// Whether the files keep the second part of a parameter in a tensor of its own.
fn is_put_together(architecture: &Architecture, model: &Model, tensors: &Tensors) -> bool {
    model
        .rules
        .iter()
        .filter_map(|rule| architecture.family.part(rule, 1))
        .any(|part| tensors.contains_key(&format!("{}{}", architecture.prefix, part.name.replace("{}", "0"))))
}

/// Sums over the files' tensors.
struct Found {
    tally: Tally,
    bytes: u64,
    dtype: StoredDtype,
}

impl Found {
    fn of(architecture: &Architecture, tensors: &Tensors) -> Result<Self> {
        const WHAT: &str = "the stored bytes";
        let mut found = Self { tally: Tally::default(), bytes: 0, dtype: StoredDtype::F32 };
        let mut most = std::collections::BTreeMap::<StoredDtype, u64>::new();
        for (name, tensor) in tensors {
            found.bytes = sum(WHAT, &[found.bytes, tensor.bytes()])?;
            if architecture.family.is_buffer(name) {
                continue;
            }
            let bytes = most.entry(tensor.dtype).or_default();
            *bytes = bytes.saturating_add(tensor.bytes());
            let elements = tensor.elements();
            found.tally.parameters = sum(WHAT, &[found.tally.parameters, elements])?;
            let table = ["embed", "wte", "wpe", "lm_head"].iter().any(|part| name.contains(part));
            match (&tensor.shape[..], table) {
                ([_, _], true) => found.tally.embedding = sum(WHAT, &[found.tally.embedding, elements])?,
                ([rows, _], false) => {
                    found.tally.linear = sum(WHAT, &[found.tally.linear, elements])?;
                    found.tally.linear_rows = sum(WHAT, &[found.tally.linear_rows, *rows])?;
                    found.tally.largest_linear = found.tally.largest_linear.max(elements);
                }
                ([_, _, _], false) => found.tally.experts = sum(WHAT, &[found.tally.experts, elements])?,
                _ => {}
            }
        }
        if let Some((dtype, _)) = most.into_iter().max_by_key(|(dtype, bytes)| (*bytes, dtype.bits())) {
            found.dtype = dtype;
        }
        Ok(found)
    }
}

/// Say what a caller should know of a checkpoint that the embedded engine may not serve.
fn remark(checkpoint: &mut Checkpoint, has_code: bool) {
    if has_code {
        checkpoint.warnings.push("the checkpoint brings Python code: it is sized, and would not be served".to_owned());
    }
    let apart = checkpoint.model.mtp_parameters;
    if apart > 0 {
        let text = format!("{apart} parameters of heads that predict further tokens are stated apart and not counted");
        checkpoint.warnings.push(text);
    }
}

fn survey_gguf(file: File, name: String) -> Result<Checkpoint> {
    let length = file.metadata().map_err(|error| describe(&name, &error))?.len();
    let header = gguf::read_from(BufReader::new(file), length)
        .map_err(|error| SizingError::Gguf { file: name.clone(), error })?;
    let mut checkpoint = from_gguf(&header).map_err(|error| match error {
        SizingError::Gguf { error, .. } => SizingError::Gguf { file: name.clone(), error },
        other => other,
    })?;
    checkpoint.files = vec![name];
    Ok(checkpoint)
}

/// What a GGUF header says: its tensors' bytes win, and its keys give the cache.
///
/// # Errors
/// [`SizingError::Gguf`], [`SizingError::FeatureUnsupported`], [`SizingError::Overflow`].
pub fn from_gguf(header: &Header) -> Result<Checkpoint> {
    let keys = GgufKeys::of(header)?;
    if header.tensors.is_empty() {
        // A vocabulary alone, or a file that was cut: it would fit anywhere, and serve nothing.
        return Err(invalid("the tensor table", "it is empty: there are no weights"));
    }
    if keys.plain("split.count").is_some_and(|count| count > 1) {
        let value = "more than one part".to_owned();
        return Err(SizingError::FeatureUnsupported { field: "split.count", value });
    }
    let model = keys.model()?;
    let mut tally = Tally::default();
    let (mut stored, mut by_kind) = (0, std::collections::BTreeMap::<&gguf::Kind, u64>::new());
    for tensor in &header.tensors {
        let (elements, what) = (tensor.elements(), "the stored bytes");
        stored = sum(what, &[stored, tensor.bytes])?;
        tally.parameters = sum(what, &[tally.parameters, elements])?;
        let kind = by_kind.entry(tensor.kind).or_default();
        *kind = kind.saturating_add(tensor.bytes);
        if tensor.name.starts_with("token_embd") || tensor.name.starts_with("output.") {
            tally.embedding = sum(what, &[tally.embedding, elements])?;
        } else if let [input, output] = tensor.shape.as_slice() {
            tally.linear = sum(what, &[tally.linear, elements])?;
            tally.linear_rows = sum(what, &[tally.linear_rows, *output])?;
            tally.lora_width = sum(what, &[tally.lora_width, *input, *output])?;
            tally.largest_linear = tally.largest_linear.max(elements);
        } else if tensor.shape.len() > 2 {
            tally.experts = sum(what, &[tally.experts, elements])?;
        }
    }
    let kind = by_kind.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(kind, _)| kind);
    let stored_dtype = match kind.map(|kind| kind.name) {
        None | Some("F32") => WeightDtype::Fp32,
        Some("F16") => WeightDtype::Fp16,
        Some("BF16") => WeightDtype::Bf16,
        Some(name) => WeightDtype::parse(name).unwrap_or(WeightDtype::Fp16),
    };
    let task = if model.caches.is_empty() { Task::Embedding } else { Task::Generation };
    Ok(Checkpoint {
        architecture: &FOREIGN,
        name: keys.architecture.clone(),
        task,
        parameter_count: tally.parameters,
        tally,
        stored_dtype,
        stored_bytes: stored,
        has_weights: true,
        put_together: false,
        files: Vec::new(),
        contents: Vec::new(),
        warnings: Vec::new(),
        tokenizer: None,
        model,
    })
}

/// The largest number that a key may give.
const MAX_NUMBER: u64 = 1 << 31;

/// A header's keys under its architecture's name.
struct GgufKeys<'a> {
    header: &'a Header,
    architecture: String,
}

impl<'a> GgufKeys<'a> {
    fn of(header: &'a Header) -> Result<Self> {
        const KEY: &str = "general.architecture";
        match header.keys.get(KEY).and_then(Value::as_text) {
            Some(name) => Ok(Self { header, architecture: name.chars().take(80).collect() }),
            None => Err(invalid(KEY, "it must be a text")),
        }
    }

    fn plain(&self, key: &str) -> Option<u64> {
        self.header.keys.get(key).and_then(Value::as_u64)
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.header.keys.get(&format!("{}.{key}", self.architecture))
    }

    fn number(&self, key: &str, default: Option<u64>) -> Result<u64> {
        match (self.value(key), default) {
            (Some(Value::Unsigned(number)), _) if *number <= MAX_NUMBER => Ok(*number),
            (None, Some(default)) => Ok(default),
            _ => Err(invalid(key, "it must be a whole number from 0 to 2147483648")),
        }
    }

    /// One number a layer, which files also write as one for all.
    fn per_layer(&self, key: &str, layers: u64, default: u64) -> Result<Vec<u64>> {
        let same = |number: u64| Ok((0..layers).map(|_| number).collect());
        match self.value(key) {
            None => same(default),
            Some(Value::Numbers(list))
                if u64::try_from(list.len()).ok() == Some(layers)
                    && list.iter().all(|number| *number <= MAX_NUMBER) =>
            {
                Ok(list.clone())
            }
            Some(Value::Unsigned(number)) if *number <= MAX_NUMBER => same(*number),
            Some(_) => Err(invalid(key, "it must be a whole number from 0 to 2147483648, or one a layer")),
        }
    }

    fn model(&self) -> Result<Model> {
        const MAX_LAYERS: u64 = 4_096;
        let layers = self.number("block_count", None)?;
        if layers > MAX_LAYERS {
            return Err(invalid("block_count", "it must be at most 4096"));
        }
        let hidden = self.number("embedding_length", None)?;
        let heads = self.per_layer("attention.head_count", layers, 0)?;
        let most = heads.iter().copied().max().unwrap_or(0);
        let kv = self.per_layer("attention.head_count_kv", layers, most)?;
        let head_dim = hidden.checked_div(most).unwrap_or(0);
        let (key_dim, value_dim) = (
            self.number("attention.key_length", Some(head_dim))?,
            self.number("attention.value_length", Some(head_dim))?,
        );
        let shape = Shape {
            hidden,
            layers,
            layers_field: "block_count",
            heads: most,
            kv_heads: kv.iter().copied().max().unwrap_or(0),
            head_dim: key_dim,
            intermediate: self.widest("feed_forward_length", layers)?,
            vocabulary: self.vocabulary(),
            max_context: self.number("context_length", Some(2_048))?.max(1),
            labels: 0,
            tied: !self.header.tensors.iter().any(|tensor| tensor.name == "output.weight"),
            buffer_bytes: 0,
        };
        let mut model = Model::new(shape, Vec::new(), None);
        model.experts_per_token = self.number("expert_used_count", Some(0))?;
        let causal = !matches!(self.value("attention.causal"), Some(Value::Bool(false)));
        if causal {
            model.caches = self.caches(layers, &kv, (key_dim, value_dim))?;
        }
        Ok(model)
    }

    fn widest(&self, key: &str, layers: u64) -> Result<u64> {
        Ok(self.per_layer(key, layers, 0)?.into_iter().max().unwrap_or(0))
    }

    fn vocabulary(&self) -> u64 {
        let table = self.header.tensors.iter().find(|tensor| tensor.name == "token_embd.weight");
        table.and_then(|tensor| tensor.shape.get(1).copied()).unwrap_or(1)
    }

    fn caches(&self, layers: u64, kv: &[u64], dims: (u64, u64)) -> Result<Vec<CacheGroup>> {
        let rank = self.number("attention.kv_lora_rank", Some(0))?;
        if rank > 0 {
            let width = sum("the cache", &[rank, self.number("rope.dimension_count", Some(0))?])?;
            return Ok(vec![CacheGroup { kind: CacheKind::Latent { width }, layers: Layers::All }]);
        }
        let inner = self.number("ssm.inner_size", Some(0))?;
        let mut groups: Vec<CacheGroup> = Vec::new();
        let mut counts = kv.to_vec();
        counts.sort_unstable();
        counts.dedup();
        for heads in counts {
            let at = marked(layers, |layer| usize::try_from(layer).ok().and_then(|at| kv.get(at)) == Some(&heads))?;
            let kind = match (heads, inner) {
                (0, 0) => continue,
                (0, _) => self.state(inner)?,
                _ => CacheKind::Full { heads, key_dim: dims.0, value_dim: dims.1 },
            };
            groups.push(CacheGroup { kind, layers: at });
        }
        Ok(groups)
    }

    fn state(&self, inner: u64) -> Result<CacheKind> {
        let (state, groups) = (self.number("ssm.state_size", Some(16))?, self.number("ssm.group_count", Some(0))?);
        let group_channels = product("the state", &[2, state])?;
        Ok(CacheKind::State {
            channels: sum("the state", &[inner, product("the state", &[groups, group_channels])?])?,
            kernel: self.number("ssm.conv_kernel", Some(4))?,
            matrix: product("the state", &[inner, state])?,
            groups,
            group_channels,
        })
    }
}

fn invalid(key: &str, detail: &str) -> SizingError {
    let error = gguf::GgufError::FieldInvalid { subject: key.to_owned(), detail: detail.to_owned() };
    SizingError::Gguf { file: "the header".to_owned(), error }
}
