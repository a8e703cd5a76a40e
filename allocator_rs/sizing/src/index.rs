//! `model.safetensors.index.json`: which shard holds which tensor.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Component, Path};

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::safetensors::{MAX_HEADERS_BYTES, Tensors, read_header_within};
use crate::source::{INDEX_NAME, Source, read_bounded};
use crate::{Result, SizingError};

const INDEX_LIMIT_BYTES: u64 = 32 * 1024 * 1024;
/// Most tensors of one checkpoint: more would need tables of more than 64 MiB.
pub const MAX_TENSORS: usize = 400_000;

#[derive(Deserialize)]
struct RawIndex {
    #[serde(deserialize_with = "bounded")]
    weight_map: HashMap<String, String>,
}

fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<HashMap<String, String>, D::Error> {
    struct WeightMap;
    impl<'de> Visitor<'de> for WeightMap {
        type Value = HashMap<String, String>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object of file names")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
            let mut found = HashMap::new();
            while let Some((tensor, shard)) = map.next_entry()? {
                found.insert(tensor, shard);
                if found.len() > MAX_TENSORS {
                    return Err(A::Error::custom(format!("it lists more than {MAX_TENSORS} tensors")));
                }
            }
            Ok(found)
        }
    }
    deserializer.deserialize_map(WeightMap)
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

    /// The tensors of each shard.
    fn by_shard(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut found = BTreeMap::<&str, Vec<&str>>::new();
        for (tensor, shard) in &self.weight_map {
            found.entry(shard).or_default().push(tensor);
        }
        found
    }

    /// The shards' names, sorted.
    #[must_use]
    pub fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// Which file holds which tensor, whether there is an index or one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shards {
    /// All are in one file.
    One(String),
    /// As the index says.
    Many(Index),
}

impl Shards {
    /// The file of a tensor that is there.
    #[must_use]
    pub fn of(&self, tensor: &str) -> &str {
        match self {
            Self::One(name) => name,
            Self::Many(index) => index.weight_map.get(tensor).map_or("", String::as_str),
        }
    }

    /// The files' names, sorted.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        match self {
            Self::One(name) => BTreeSet::from([name.clone()]),
            Self::Many(index) => index.shards().into_iter().map(str::to_owned).collect(),
        }
    }
}

/// Read an index and every shard's header, and check them against each other.
///
/// # Errors
/// What [`Index::parse`] and [`read_header_within`] say; [`SizingError::ShardMismatch`] where they disagree.
pub fn read_sharded(source: &Source) -> Result<(Index, Tensors)> {
    let index = Index::parse(&read_bounded(source.open_file(INDEX_NAME)?, INDEX_NAME, INDEX_LIMIT_BYTES)?)?;
    let expected = index.by_shard();
    let (mut all, mut left) = (Tensors::new(), MAX_HEADERS_BYTES);
    for (shard, names) in &expected {
        let tensors = read_header_within(source.open_file(shard)?, shard, &mut left)?;
        // At once: the other shards' headers are not read for the sake of an error that is known.
        let mismatch =
            |tensor: &str| SizingError::ShardMismatch { tensor: tensor.to_owned(), shard: (*shard).to_owned() };
        if let Some(name) = names.iter().find(|name| !tensors.contains_key(**name)) {
            return Err(mismatch(name));
        }
        for (name, tensor) in tensors {
            if index.weight_map.get(&name).map(String::as_str) != Some(*shard) {
                return Err(mismatch(&name));
            }
            all.insert(name, tensor);
        }
    }
    Ok((index, all))
}
