//! The header of a safetensors file, read within bounds. The data section is never read.
//!
//! Format: <https://huggingface.co/docs/safetensors> — a little-endian `u64` length, that many bytes of JSON, then the
//! tensors' bytes, which the header's offsets cover without a gap and without an overlap.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{BufReader, Read};

use crate::file_errors::{POINTER, describe, pointer};
use crate::header_json::{Listed, Raw, ShortTexts, parse};
use crate::sizes::Sizes;
use crate::{Result, SizingError, StoredDtype};

/// The format's own cap on a header.
pub const HEADER_LIMIT_BYTES: u64 = 100_000_000;
/// Most bytes of the headers of all files of a checkpoint: those of the largest published models have some 20 MB together.
pub const MAX_HEADERS_BYTES: u64 = 256 * 1024 * 1024;
/// Most tensors of one file; the largest published models have fewer in all their files together.
pub const MAX_TENSORS: usize = 200_000;
/// A header of no more than this is parsed from memory, several times as fast; a larger one as it is read.
const WHOLE_HEADER_BYTES: u64 = 16 * 1024 * 1024;
const LENGTH_BYTES: u64 = 8;
/// About what an entry takes in a header: room is made for so many at once, and more is made where there are more.
const ENTRY_BYTES: u64 = 128;

/// One tensor as its header describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub dtype: StoredDtype,
    /// Sizes, outermost first.
    pub shape: Sizes,
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
pub fn read_header(file: File, name: &str) -> Result<Tensors> {
    let mut left = MAX_HEADERS_BYTES;
    read_header_within(file, name, &mut left)
}

/// The same of one of several files. `left`: the bytes that the headers of those still to be read may have, of
/// [`MAX_HEADERS_BYTES`]; this one's are taken from it.
///
/// # Errors
/// As [`read_header`]; [`SizingError::FilesTooLarge`], before a byte of the header is read.
pub fn read_header_within(file: File, name: &str, left: &mut u64) -> Result<Tensors> {
    let length = file.metadata().map_err(|error| describe(name, &error))?.len();
    let mut reader = BufReader::new(file);
    let claimed = read_length(&mut reader, length, name)?;
    *left = left.checked_sub(claimed).ok_or_else(|| SizingError::FilesTooLarge {
        file: name.to_owned(),
        what: "bytes of headers",
        limit: MAX_HEADERS_BYTES,
    })?;
    read_entries(reader, claimed, length, name)
}

/// Read and check a header from any source of `total_bytes` bytes.
///
/// # Errors
/// As [`read_header`].
pub fn read_from<R: Read>(mut reader: R, total_bytes: u64, name: &str) -> Result<Tensors> {
    let claimed = read_length(&mut reader, total_bytes, name)?;
    read_entries(reader, claimed, total_bytes, name)
}

/// Read how long the header says that it is.
fn read_length<R: Read>(reader: &mut R, total_bytes: u64, name: &str) -> Result<u64> {
    let available = total_bytes.saturating_sub(LENGTH_BYTES);
    let mut prefix = [0_u8; 8];
    reader.read_exact(&mut prefix).map_err(|_| SizingError::HeaderTruncated {
        file: name.to_owned(),
        claimed: LENGTH_BYTES,
        available: total_bytes,
    })?;
    if POINTER.starts_with(&prefix) {
        return Err(pointer(name));
    }
    let claimed = u64::from_le_bytes(prefix);
    // The cap comes second: a length that the file itself cannot hold is the clearer message.
    if claimed > available {
        return Err(SizingError::HeaderTruncated { file: name.to_owned(), claimed, available });
    }
    if claimed > HEADER_LIMIT_BYTES {
        return Err(SizingError::HeaderTooLarge { file: name.to_owned(), claimed, limit: HEADER_LIMIT_BYTES });
    }
    Ok(claimed)
}

/// Read a header of `claimed` bytes, of which the length was read.
fn read_entries<R: Read>(reader: R, claimed: u64, total_bytes: u64, name: &str) -> Result<Tensors> {
    let data_bytes = total_bytes.saturating_sub(LENGTH_BYTES).saturating_sub(claimed);
    let mut collected = Collected::new(name, data_bytes, claimed);
    if claimed <= WHOLE_HEADER_BYTES {
        let mut text = Vec::with_capacity(usize::try_from(claimed).unwrap_or(0));
        reader.take(claimed).read_to_end(&mut text).map_err(|error| describe(name, &error))?;
        parse(serde_json::Deserializer::from_slice(&text), &mut collected, name)?;
    } else {
        let short = ShortTexts::new(reader.take(claimed), WHOLE_HEADER_BYTES);
        parse(serde_json::Deserializer::from_reader(short), &mut collected, name)?;
    }
    collected.finish()
}

/// Tensors as they come. Most files list them in the order of their bytes, and then no second look is needed.
struct Collected<'a> {
    file: &'a str,
    data_bytes: u64,
    tensors: Tensors,
    /// End of the bytes that are covered so far without a gap and without an overlap.
    covered: u64,
    in_order: bool,
    /// The first entry that was not in order; the JSON is read to its end all the same.
    fault: Option<SizingError>,
}

impl Listed for Collected<'_> {
    fn list(&mut self, name: String, raw: &Raw) -> bool {
        if self.fault.is_none() {
            self.fault = self.add(name, raw).err();
        }
        self.tensors.len() <= MAX_TENSORS
    }
}

impl<'a> Collected<'a> {
    fn new(file: &'a str, data_bytes: u64, header_bytes: u64) -> Self {
        let expected = usize::try_from(header_bytes.saturating_div(ENTRY_BYTES)).unwrap_or(0);
        let tensors = Tensors::with_capacity(expected.min(MAX_TENSORS));
        Self { file, data_bytes, tensors, covered: 0, in_order: true, fault: None }
    }

    fn add(&mut self, name: String, raw: &Raw) -> Result<()> {
        let tensor = check_tensor(&name, raw, self.data_bytes, self.file)?;
        if tensor.begin == self.covered {
            self.covered = tensor.end;
        } else {
            self.in_order = false;
        }
        match self.tensors.entry(name) {
            Entry::Vacant(place) => {
                place.insert(tensor);
                Ok(())
            }
            Entry::Occupied(place) => {
                Err(SizingError::TensorDuplicate { file: self.file.to_owned(), tensor: place.key().clone() })
            }
        }
    }

    fn finish(self) -> Result<Tensors> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if !self.in_order || self.covered != self.data_bytes {
            let mut order: Vec<_> = self.tensors.iter().map(|(n, t)| (t.begin, t.end, n.as_str())).collect();
            order.sort_unstable();
            check_cover(&order, self.data_bytes, self.file)?;
        }
        Ok(self.tensors)
    }
}

fn check_tensor(name: &str, raw: &Raw, data_bytes: u64, file: &str) -> Result<Tensor> {
    let dtype = raw.dtype.as_ref().map_err(|dtype| SizingError::DtypeUnknown {
        file: file.to_owned(),
        tensor: name.to_owned(),
        dtype: dtype.clone(),
    })?;
    let (begin, end) = raw.data_offsets;
    let found = end.saturating_sub(begin);
    let bits = raw
        .shape
        .iter()
        .try_fold(dtype.bits(), |acc, &size| acc.checked_mul(size))
        .filter(|_| raw.shape.is_whole())
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
    Ok(Tensor { dtype: *dtype, shape: raw.shape, begin, end })
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
