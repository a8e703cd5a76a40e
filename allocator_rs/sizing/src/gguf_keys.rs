//! What a GGUF header's keys say of a model: dimensions, and what every layer keeps.

use gguf::{Header, Value};

use crate::cache::{CacheGroup, CacheKind};
use crate::families::decoder::marked;
use crate::math::{product, sum};
use crate::model::{Layers, Model, Shape};
use crate::{Result, SizingError};

const MAX_LAYERS: u64 = 4_096;
/// The largest number that a key may give.
const MAX_NUMBER: u64 = 1 << 31;
/// Architectures whose files do not say which layers see a window: all but each n-th do (llama.cpp, `set_swa_pattern`).
const PATTERNS: [(&str, u64); 11] = [
    ("gemma2", 2),
    ("gemma3", 6),
    ("gemma3n", 5),
    ("gemma-embedding", 6),
    ("cohere2", 4),
    ("gpt-oss", 2),
    ("exaone4", 4),
    ("olmo2", 4),
    ("smallthinker", 4),
    ("plamo3", 8),
    ("afmoe", 4),
];
/// What llama4's layers see but each fourth: the chunk that a token is in.
const CHUNKED: (&str, u64, u64) = ("llama4", 4, 8_192);

/// A header's keys under its architecture's name.
pub(crate) struct GgufKeys<'a> {
    header: &'a Header,
    /// Its name.
    pub architecture: String,
}

/// One layer's keys and values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nothing,
    State,
    Heads(CacheKind),
}

impl<'a> GgufKeys<'a> {
    /// Find the architecture's name.
    pub fn of(header: &'a Header) -> Result<Self> {
        const KEY: &str = "general.architecture";
        match header.keys.get(KEY).and_then(Value::as_text) {
            Some(name) => Ok(Self { header, architecture: name.chars().take(80).collect() }),
            None => Err(invalid(KEY, "it must be a text")),
        }
    }

    /// A key by its full name.
    pub fn plain(&self, key: &str) -> Option<u64> {
        self.header.keys.get(key).and_then(Value::as_u64)
    }

    /// A key by its full name, within the bounds of every number.
    pub fn plain_number(&self, key: &str, default: u64) -> Result<u64> {
        bounded(key, self.header.keys.get(key), Some(default))
    }

    /// Whether it is a projector, which is loaded beside a model.
    pub fn is_projector(&self) -> bool {
        let kind = self.header.keys.get("general.type").and_then(Value::as_text);
        self.architecture == "clip" || kind == Some("mmproj")
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.header.keys.get(&format!("{}.{key}", self.architecture))
    }

    fn number(&self, key: &str, default: Option<u64>) -> Result<u64> {
        bounded(key, self.value(key), default)
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

    /// Dimensions and caches.
    pub fn model(&self) -> Result<Model> {
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
            intermediate: self.per_layer("feed_forward_length", layers, 0)?.into_iter().max().unwrap_or(0),
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
        let kept = self.kept(layers, kv, dims)?;
        let mut kinds: Vec<Kept> = Vec::new();
        for one in &kept {
            if *one != Kept::Nothing && !kinds.contains(one) {
                kinds.push(*one);
            }
        }
        let inner = self.number("ssm.inner_size", Some(0))?;
        let mut groups = Vec::new();
        for kind in kinds {
            let at = marked(layers, |layer| usize::try_from(layer).ok().and_then(|at| kept.get(at)) == Some(&kind))?;
            let kind = match kind {
                Kept::Nothing => continue,
                Kept::State => self.state(inner)?,
                Kept::Heads(kind) => kind,
            };
            groups.push(CacheGroup { kind, layers: at });
        }
        Ok(groups)
    }

    /// What each layer keeps.
    fn kept(&self, layers: u64, kv: &[u64], (key_dim, value_dim): (u64, u64)) -> Result<Vec<Kept>> {
        let recurrent = self.number("ssm.inner_size", Some(0))? > 0;
        let interval = self.number("full_attention_interval", Some(0))?;
        let window = self.number("attention.sliding_window", Some(0))?;
        let local = if window > 0 { self.local_layers(layers)? } else { vec![false; kv.len()] };
        let dims = (
            self.number("attention.key_length_swa", Some(key_dim))?,
            self.number("attention.value_length_swa", Some(value_dim))?,
        );
        let (name, period, default) = CHUNKED;
        let chunk = if self.architecture == name { self.number("attention.chunk_size", Some(default))? } else { 0 };
        Ok((0_u64..)
            .zip(kv.iter().zip(local))
            .map(|(layer, (&heads, local))| {
                let attends = layer.saturating_add(1).checked_rem(interval).is_none_or(|rest| rest == 0);
                let seen = layer.saturating_add(1).checked_rem(period).is_none_or(|rest| rest == 0);
                match (heads, attends && heads > 0, recurrent) {
                    (_, false, true) => Kept::State,
                    (0, ..) | (_, false, false) => Kept::Nothing,
                    _ if local => Kept::Heads(CacheKind::Sliding { heads, key_dim: dims.0, value_dim: dims.1, window }),
                    _ if chunk > 0 && !seen => Kept::Heads(CacheKind::Chunked { heads, key_dim, value_dim, chunk }),
                    _ => Kept::Heads(CacheKind::Full { heads, key_dim, value_dim }),
                }
            })
            .collect())
    }

    /// Which layers see a window: by the file, or by what llama.cpp knows of the architecture; all where neither says.
    fn local_layers(&self, layers: u64) -> Result<Vec<bool>> {
        const KEY: &str = "attention.sliding_window_pattern";
        let known = PATTERNS.iter().find(|(name, _)| *name == self.architecture).map(|(_, period)| *period);
        let period = match self.value(KEY) {
            Some(Value::Numbers(list)) if u64::try_from(list.len()).ok() == Some(layers) => {
                return Ok(list.iter().map(|flag| *flag != 0).collect());
            }
            Some(Value::Unsigned(period)) => Some(*period),
            Some(_) => return Err(invalid(KEY, "it must be a whole number, or a flag a layer")),
            None => known,
        };
        Ok((0..layers)
            .map(|layer| period.is_none_or(|period| layer.saturating_add(1).checked_rem(period) != Some(0)))
            .collect())
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

fn bounded(key: &str, value: Option<&Value>, default: Option<u64>) -> Result<u64> {
    match (value, default) {
        (Some(Value::Unsigned(number)), _) if *number <= MAX_NUMBER => Ok(*number),
        (None, Some(default)) => Ok(default),
        _ => Err(invalid(key, "it must be a whole number from 0 to 2147483648")),
    }
}

pub(crate) fn invalid(key: &str, detail: &str) -> SizingError {
    let error = gguf::GgufError::FieldInvalid { subject: key.to_owned(), detail: detail.to_owned() };
    SizingError::Gguf { file: "the header".to_owned(), error }
}
