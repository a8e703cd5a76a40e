//! Which of a checkpoint's tensors an engine holds: not what predicts further tokens, nor a tied head's copy, nor old buffers.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use crate::architecture::Architecture;
use crate::file_errors::describe;
use crate::index::Shards;
use crate::math::sum;
use crate::model::Model;
use crate::safetensors::{Tensor, Tensors};
use crate::source::Source;
use crate::{Result, SizingError};

const CHUNK_BYTES: usize = 256 * 1024;
/// Names of input embeddings, by the part behind the model's prefix.
const TABLES: [&str; 9] = [
    "embed_tokens.weight",
    "wte.weight",
    "word_embeddings.weight",
    "embed_in.weight",
    "tok_embeddings.weight",
    "shared.weight",
    "embeddings.weight",
    "embedding.weight",
    "embed_positions_in.weight",
];
/// Names under which a tied table is stored once more.
const COPIES: [&str; 5] = [
    "lm_head.weight",
    "embed_out.weight",
    "output_projection.weight",
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
];

/// Tensors that are in the files and not in an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Names of tensors of heads that predict further tokens.
    pub further: Vec<String>,
    /// Names of copies of tied tables.
    pub copies: Vec<String>,
    /// A head that the config ties and whose content differs from the embedding's: transformers keeps it, vLLM drops it.
    pub different: Option<String>,
}

impl LeftOut {
    /// Look through a checkpoint's tensors; contents are compared only where a tied table is there twice.
    ///
    /// # Errors
    /// What reading the two tables says.
    pub fn of(model: &Model, source: &Source, shards: &Shards, tensors: &Tensors) -> Result<Self> {
        let mut found = Self::default();
        for name in tensors.keys() {
            if predicts_further(name, model.shape.layers) {
                found.further.push(name.clone());
            }
        }
        found.further.sort_unstable();
        if model.shape.tied {
            found.compare(source, shards, tensors)?;
        }
        Ok(found)
    }

    /// Whether a tensor is in no engine.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        self.is_further(name) || self.copies.iter().any(|copy| copy == name)
    }

    /// Whether a tensor belongs to a head that predicts further tokens.
    #[must_use]
    pub fn is_further(&self, name: &str) -> bool {
        self.further.binary_search_by(|other| other.as_str().cmp(name)).is_ok()
    }

    fn compare(&mut self, source: &Source, shards: &Shards, tensors: &Tensors) -> Result<()> {
        let Some(table) = table(tensors) else { return Ok(()) };
        let Some(original) = tensors.get(&table) else { return Ok(()) };
        let mut copies: Vec<&String> = tensors
            .keys()
            .filter(|name| **name != table && !self.holds(name) && COPIES.iter().any(|copy| ends_with(name, copy)))
            .collect();
        copies.sort_unstable();
        for name in copies {
            let Some(copy) = tensors.get(name) else { continue };
            if copy.shape != original.shape {
                continue;
            }
            if copy.dtype == original.dtype && same(source, (shards.of(&table), original), (shards.of(name), copy))? {
                self.copies.push(name.clone());
            } else {
                self.different = Some(name.clone());
            }
        }
        Ok(())
    }

    /// What a caller should know.
    #[must_use]
    pub fn remarks(&self, further_parameters: u64) -> Vec<String> {
        let mut texts = Vec::new();
        if further_parameters > 0 {
            texts.push(format!(
                "{further_parameters} parameters of heads that predict further tokens are stated apart and not counted"
            ));
        }
        if !self.copies.is_empty() {
            texts.push(format!("{} is a copy of the tied embedding and is left out", self.copies.join(", ")));
        }
        if let Some(name) = &self.different {
            texts.push(format!(
                "config.json ties the embeddings (tie_word_embeddings) and {name} differs from the input embedding: \
                 transformers keeps both, vLLM leaves it out"
            ));
        }
        texts
    }
}

/// The input embedding's name: the shortest of several.
fn table(tensors: &Tensors) -> Option<String> {
    let tables = tensors.keys().filter(|name| TABLES.iter().any(|table| ends_with(name, table)));
    tables.min_by_key(|name| (!ends_with(name, "shared.weight"), name.len(), (*name).clone())).cloned()
}

/// Whether a name's last parts are these.
fn ends_with(name: &str, end: &str) -> bool {
    name.strip_suffix(end).is_some_and(|stem| stem.is_empty() || stem.ends_with('.'))
}

/// Whether a tensor belongs to a layer behind the last one, or to a part that is named for it.
fn predicts_further(name: &str, layers: u64) -> bool {
    if name.starts_with("mtp.") || name.contains(".mtp.") || name.starts_with("mtp_") || name.contains(".mtp_") {
        return true;
    }
    let Some((stem, rest)) = name.split_once("layers.") else { return false };
    let is_text = ["", "model.", "language_model.", "language_model.model.", "model.language_model.", "transformer."];
    is_text.contains(&stem)
        && rest.split('.').next().and_then(|number| number.parse::<u64>().ok()).is_some_and(|layer| layer >= layers)
}

/// Whether two tensors hold the same bytes.
fn same(source: &Source, first: (&str, &Tensor), second: (&str, &Tensor)) -> Result<bool> {
    let ((first_file, mut left), (second_file, mut right)) = (open(source, first)?, open(source, second)?);
    let (mut one, mut other) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let mut rest = usize::try_from(first.1.bytes()).map_err(|_| SizingError::Overflow { what: "a tensor" })?;
    if first.1.bytes() != second.1.bytes() {
        return Ok(false);
    }
    while rest > 0 {
        let part = rest.min(CHUNK_BYTES);
        let (Some(one), Some(other)) = (one.get_mut(..part), other.get_mut(..part)) else { return Ok(false) };
        left.read_exact(one).map_err(|error| describe(&first_file, &error))?;
        right.read_exact(other).map_err(|error| describe(&second_file, &error))?;
        if one != other {
            return Ok(false);
        }
        rest = rest.saturating_sub(part);
    }
    Ok(true)
}

fn open(source: &Source, (name, tensor): (&str, &Tensor)) -> Result<(String, BufReader<File>)> {
    let mut file = source.open_file(name)?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|error| describe(name, &error))?;
    let begin = sum("a tensor's place", &[8, u64::from_le_bytes(length), tensor.begin])?;
    file.seek(SeekFrom::Start(begin)).map_err(|error| describe(name, &error))?;
    Ok((name.to_owned(), BufReader::with_capacity(CHUNK_BYTES, file)))
}

/// Bytes of all tensors that an engine holds.
///
/// # Errors
/// [`SizingError::Overflow`].
pub(crate) fn held_bytes(architecture: &Architecture, tensors: &Tensors, left_out: &LeftOut) -> Result<u64> {
    let held = |name: &&String| {
        !left_out.holds(name) && (!architecture.family.is_buffer(name) || name.ends_with(".e_score_correction_bias"))
    };
    let names = tensors.iter().filter(|(name, _)| held(name));
    names.into_iter().try_fold(0, |total, (_, tensor)| sum("the stored bytes", &[total, tensor.bytes()]))
}
