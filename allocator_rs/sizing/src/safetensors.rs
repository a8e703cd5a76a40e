//! The header of a safetensors file, read within bounds. The data section is never read.
//!
//! Format: <https://huggingface.co/docs/safetensors> — a little-endian `u64` length, that many bytes of JSON, then the
//! tensors' bytes, which the header's offsets cover without a gap and without an overlap.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::source::describe;
use crate::{Result, SizingError, StoredDtype};

/// The format's own cap on a header.
pub const HEADER_LIMIT_BYTES: u64 = 100_000_000;
/// A header of no more than this is parsed from memory, several times as fast; a larger one as it is read.
const WHOLE_HEADER_BYTES: u64 = 16 * 1024 * 1024;
const LENGTH_BYTES: u64 = 8;
const MAX_DIMENSIONS: usize = 8;

/// One tensor as its header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub dtype: StoredDtype,
    /// Sizes, outermost first.
    pub shape: Vec<u64>,
    /// First byte, counted from the start of the data section.
    pub begin: u64,
    /// One past the last byte.
    pub end: u64,
}

impl Tensor {
    /// Elements. Cannot overflow: the header was checked.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1_u64, |acc, &size| acc.saturating_mul(size))
    }

    /// Bytes in the file.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.end.saturating_sub(self.begin)
    }
}

/// Tensors by name.
pub type Tensors = HashMap<String, Tensor>;

/// Read and check the header of a file. `name`: its path within the checkpoint, for errors; a link may lead to another one.
///
/// # Errors
/// Every way in which the file can be missing, cut short or malformed has its own [`SizingError`].
pub fn read_header(path: &Path, name: &str) -> Result<Tensors> {
    let file = File::open(path).map_err(|error| describe(name, &error))?;
    let length = file.metadata().map_err(|error| describe(name, &error))?.len();
    read_from(BufReader::new(file), length, name)
}

/// Read and check a header from any source of `total_bytes` bytes.
///
/// # Errors
/// As [`read_header`].
pub fn read_from<R: Read>(mut reader: R, total_bytes: u64, name: &str) -> Result<Tensors> {
    let available = total_bytes.saturating_sub(LENGTH_BYTES);
    let mut prefix = [0_u8; 8];
    reader.read_exact(&mut prefix).map_err(|_| SizingError::HeaderTruncated {
        file: name.to_owned(),
        claimed: LENGTH_BYTES,
        available: total_bytes,
    })?;
    let claimed = u64::from_le_bytes(prefix);
    // The cap comes second: a length that the file itself cannot hold is the clearer message.
    if claimed > available {
        return Err(SizingError::HeaderTruncated { file: name.to_owned(), claimed, available });
    }
    if claimed > HEADER_LIMIT_BYTES {
        return Err(SizingError::HeaderTooLarge { file: name.to_owned(), claimed, limit: HEADER_LIMIT_BYTES });
    }
    let raw = if claimed <= WHOLE_HEADER_BYTES {
        let mut text = Vec::new();
        reader.take(claimed).read_to_end(&mut text).map_err(|error| describe(name, &error))?;
        parse_json(serde_json::Deserializer::from_slice(&text), name)?
    } else {
        parse_json(serde_json::Deserializer::from_reader(reader.take(claimed)), name)?
    };
    check(raw, available.saturating_sub(claimed), name)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The header's entries in order, duplicates kept, so that they can be refused.
struct RawHeader(Vec<(String, RawTensor)>);

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = RawHeader;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<RawHeader, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<HashMap<String, String>>()?;
                    } else {
                        entries.push((name, map.next_value::<RawTensor>()?));
                    }
                }
                Ok(RawHeader(entries))
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// `serde_json` refuses what is nested deeper than 128.
fn parse_json<'de, R: serde_json::de::Read<'de>>(
    mut deserializer: serde_json::Deserializer<R>,
    name: &str,
) -> Result<Vec<(String, RawTensor)>> {
    let invalid =
        |error: serde_json::Error| SizingError::HeaderInvalid { file: name.to_owned(), detail: error.to_string() };
    let header = RawHeader::deserialize(&mut deserializer).map_err(invalid)?;
    deserializer.end().map_err(invalid)?;
    Ok(header.0)
}

fn check(raw: Vec<(String, RawTensor)>, data_bytes: u64, file: &str) -> Result<Tensors> {
    let mut tensors = Tensors::with_capacity(raw.len());
    for (name, entry) in raw {
        let tensor = check_tensor(&name, entry, data_bytes, file)?;
        match tensors.entry(name) {
            Entry::Vacant(place) => {
                place.insert(tensor);
            }
            Entry::Occupied(place) => {
                return Err(SizingError::TensorDuplicate { file: file.to_owned(), tensor: place.key().clone() });
            }
        }
    }
    let mut order: Vec<_> = tensors.iter().map(|(name, tensor)| (tensor.begin, tensor.end, name.as_str())).collect();
    order.sort_unstable();
    check_cover(&order, data_bytes, file)?;
    Ok(tensors)
}

fn check_tensor(name: &str, raw: RawTensor, data_bytes: u64, file: &str) -> Result<Tensor> {
    let dtype = StoredDtype::parse(&raw.dtype).ok_or_else(|| SizingError::DtypeUnknown {
        file: file.to_owned(),
        tensor: name.to_owned(),
        dtype: shorten(&raw.dtype),
    })?;
    let (begin, end) = raw.data_offsets;
    let found = end.saturating_sub(begin);
    let bits = raw
        .shape
        .iter()
        .try_fold(dtype.bits(), |acc, &size| acc.checked_mul(size))
        .filter(|_| raw.shape.len() <= MAX_DIMENSIONS)
        .ok_or(SizingError::Overflow { what: "a tensor's size" })?;
    if begin > end || bits % 8 != 0 || bits / 8 != found {
        return Err(SizingError::TensorSize {
            file: file.to_owned(),
            tensor: name.to_owned(),
            expected: bits.div_ceil(8),
            found,
        });
    }
    if end > data_bytes {
        return Err(SizingError::TensorOverrun {
            file: file.to_owned(),
            tensor: name.to_owned(),
            end,
            available: data_bytes,
        });
    }
    Ok(Tensor { dtype, shape: raw.shape, begin, end })
}

fn check_cover(order: &[(u64, u64, &str)], data_bytes: u64, file: &str) -> Result<()> {
    let mut covered = 0_u64;
    let mut last = "";
    for (begin, end, name) in order {
        if *begin < covered {
            return Err(SizingError::TensorOverlap {
                file: file.to_owned(),
                first: last.to_owned(),
                second: (*name).to_owned(),
            });
        }
        if *begin > covered {
            let bytes = begin.saturating_sub(covered);
            return Err(SizingError::TensorGap { file: file.to_owned(), tensor: format!("tensor {name}"), bytes });
        }
        covered = *end;
        last = name;
    }
    if covered < data_bytes {
        let bytes = data_bytes.saturating_sub(covered);
        return Err(SizingError::TensorGap { file: file.to_owned(), tensor: "the end of the file".to_owned(), bytes });
    }
    Ok(())
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}
