//! `model.safetensors.index.json`: which shard holds which tensor.

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path};

use serde::Deserialize;

use crate::safetensors::{Tensors, read_header};
use crate::source::{Source, read_bounded};
use crate::{Result, SizingError};

/// The index's file name.
pub const INDEX_NAME: &str = "model.safetensors.index.json";
const INDEX_LIMIT_BYTES: u64 = 100_000_000;

#[derive(Deserialize)]
struct RawIndex {
    weight_map: HashMap<String, String>,
}

/// Which shard each tensor is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Shard by tensor.
    pub weight_map: HashMap<String, String>,
}

impl Index {
    /// Parse an index. A shard must be a plain file name.
    ///
    /// # Errors
    /// [`SizingError::IndexInvalid`].
    pub fn parse(text: &[u8]) -> Result<Self> {
        let invalid = |detail: String| SizingError::IndexInvalid { file: INDEX_NAME.to_owned(), detail };
        let raw: RawIndex = serde_json::from_slice(text).map_err(|error| invalid(error.to_string()))?;
        if raw.weight_map.is_empty() {
            return Err(invalid("weight_map is empty".to_owned()));
        }
        for shard in raw.weight_map.values() {
            let mut parts = Path::new(shard).components();
            let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
            if !plain || !shard.ends_with(".safetensors") {
                return Err(invalid(format!("{shard:?} is not the name of a safetensors file")));
            }
        }
        Ok(Self { weight_map: raw.weight_map })
    }

    /// The shards' names, sorted.
    #[must_use]
    pub fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// Read an index and every shard's header, and check them against each other.
///
/// # Errors
/// What [`Index::parse`] and [`read_header`] say; [`SizingError::ShardMismatch`] where they disagree.
pub fn read_sharded(source: &Source) -> Result<(Index, Tensors)> {
    let index = Index::parse(&read_bounded(&source.resolve(INDEX_NAME)?, INDEX_NAME, INDEX_LIMIT_BYTES)?)?;
    let mut all = Tensors::new();
    for shard in index.shards() {
        for (name, tensor) in read_header(&source.resolve(shard)?, shard)? {
            if index.weight_map.get(&name).map(String::as_str) != Some(shard) {
                return Err(SizingError::ShardMismatch { tensor: name, shard: shard.to_owned() });
            }
            all.insert(name, tensor);
        }
    }
    for (name, shard) in &index.weight_map {
        if !all.contains_key(name) {
            return Err(SizingError::ShardMismatch { tensor: name.clone(), shard: shard.clone() });
        }
    }
    Ok((index, all))
}
