//! Keys and tensor table.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use crate::reader::Reader;
use crate::value::{MAX_RETAINED_ARRAY_ITEMS, MAX_RETAINED_STRING_BYTES};
use crate::{GgufError, Kind, Result, Value};

const MAGIC: [u8; 4] = *b"GGUF";
const MAX_KEYS: u64 = 4_096;
const MAX_NAME_BYTES: u64 = 255;
const MAX_AXES: u32 = 4;
const MAX_ARRAY_ITEMS: u64 = 1 << 24;
const MAX_ARRAY_DEPTH: u32 = 3;
const DEFAULT_ALIGNMENT: u64 = 32;
const MAX_ALIGNMENT: u64 = 1 << 20;

/// What [`GgufError::LimitExceeded`] names where a table is beyond [`Limits::tensors`].
pub const TENSOR_COUNT: &str = "the tensor count";

/// How much is read of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes before the tensors' own: published headers have up to 30 MB, nearly all of it the vocabulary.
    pub header_bytes: u64,
    /// Tensors of the table.
    pub tensors: u64,
}

impl Limits {
    /// Of one file.
    pub const FILE: Self = Self { header_bytes: 256 * 1024 * 1024, tensors: 100_000 };
}

/// One tensor of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Name.
    pub name: String,
    /// Type.
    pub kind: &'static Kind,
    /// Sizes, the innermost first.
    pub shape: Vec<u64>,
    /// First byte, counted from the start of the data section.
    pub begin: u64,
    /// Bytes, without padding.
    pub bytes: u64,
}

impl Tensor {
    /// Elements. Cannot overflow: the table was checked.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1_u64, |acc, &size| acc.saturating_mul(size))
    }
}

/// What a file's header says.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// Keys.
    pub keys: HashMap<String, Value>,
    /// Tensors in the table's order.
    pub tensors: Vec<Tensor>,
    /// Bytes before the data section, its alignment included.
    pub header_bytes: u64,
    /// Bytes that were read: those without the alignment.
    pub read_bytes: u64,
}

/// Read and check a header from a source of `total_bytes` bytes. Nothing behind the tensor table is read.
///
/// # Errors
/// [`GgufError`], one variant a cause.
pub fn read_from<R: Read>(source: R, total_bytes: u64) -> Result<Header> {
    read_within(source, total_bytes, Limits::FILE)
}

/// The same within other limits than one file's own.
///
/// # Errors
/// As [`read_from`].
pub fn read_within<R: Read>(source: R, total_bytes: u64, limits: Limits) -> Result<Header> {
    let mut reader = Reader::new(source, total_bytes, limits.header_bytes);
    let magic = reader.array("the magic")?;
    if magic != MAGIC {
        return Err(GgufError::MagicInvalid { found: magic });
    }
    let version = reader.u32("the version")?;
    if !(2..=3).contains(&version) {
        return Err(GgufError::VersionUnsupported { version });
    }
    let tensor_count = reader.count(TENSOR_COUNT, 24, limits.tensors)?;
    let key_count = reader.count("the key count", 13, MAX_KEYS)?;
    let keys = read_keys(&mut reader, key_count)?;
    let alignment = alignment(&keys)?;
    let tensors = read_table(&mut reader, tensor_count)?;
    let read_bytes = reader.at();
    let header_bytes = read_bytes.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
    check_cover(&tensors, alignment, total_bytes.saturating_sub(header_bytes))?;
    Ok(Header { version, keys, tensors, header_bytes, read_bytes })
}

fn read_keys<R: Read>(reader: &mut Reader<R>, count: u64) -> Result<HashMap<String, Value>> {
    let mut keys = HashMap::new();
    for _ in 0..count {
        let name = read_name(reader, "a key's name")?;
        let kind = reader.u32("a value's type")?;
        let value = read_value(reader, &name, kind)?;
        if keys.insert(name.clone(), value).is_some() {
            return Err(GgufError::Duplicate { name: format!("key {name}") });
        }
    }
    Ok(keys)
}

fn read_name<R: Read>(reader: &mut Reader<R>, what: &'static str) -> Result<String> {
    match reader.text(what, MAX_NAME_BYTES)? {
        Ok(name) => Ok(name),
        Err(found) => Err(GgufError::LimitExceeded { what, found, limit: MAX_NAME_BYTES }),
    }
}

fn read_value<R: Read>(reader: &mut Reader<R>, key: &str, kind: u32) -> Result<Value> {
    match kind {
        8 => Ok(match reader.text("a string", MAX_RETAINED_STRING_BYTES)? {
            Ok(text) => Value::Text(text),
            Err(length) => Value::Skipped(length),
        }),
        9 => read_array(reader, key, 0),
        _ => read_number(reader, key, kind),
    }
}

fn read_number<R: Read>(reader: &mut Reader<R>, key: &str, kind: u32) -> Result<Value> {
    const WHAT: &str = "a number";
    let signed = |number: i64| u64::try_from(number).map_or(Value::Negative(number), Value::Unsigned);
    Ok(match kind {
        0 => Value::Unsigned(u64::from(u8::from_le_bytes(reader.array(WHAT)?))),
        1 => signed(i64::from(i8::from_le_bytes(reader.array(WHAT)?))),
        2 => Value::Unsigned(u64::from(u16::from_le_bytes(reader.array(WHAT)?))),
        3 => signed(i64::from(i16::from_le_bytes(reader.array(WHAT)?))),
        4 => Value::Unsigned(u64::from(reader.u32(WHAT)?)),
        5 => signed(i64::from(i32::from_le_bytes(reader.array(WHAT)?))),
        6 => Value::Float(f64::from(f32::from_le_bytes(reader.array(WHAT)?))),
        7 => match reader.array::<1>(WHAT)? {
            [flag @ 0..=1] => Value::Bool(flag == 1),
            [other] => return Err(invalid(key, format!("{other} is neither true nor false"))),
        },
        10 => Value::Unsigned(reader.u64(WHAT)?),
        11 => signed(i64::from_le_bytes(reader.array(WHAT)?)),
        12 => Value::Float(f64::from_le_bytes(reader.array(WHAT)?)),
        other => return Err(invalid(key, format!("value type {other} is unknown"))),
    })
}

/// Bytes of one number of a type; None for strings and arrays.
const fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

fn read_array<R: Read>(reader: &mut Reader<R>, key: &str, depth: u32) -> Result<Value> {
    let kind = reader.u32("an array's type")?;
    let least = width(kind).unwrap_or(8);
    let length = reader.count("an array's length", least, MAX_ARRAY_ITEMS)?;
    match (width(kind), kind) {
        // Within another array nothing is kept, and reading them one by one took three seconds for 256 MiB.
        (Some(_), _) if depth == 0 && length <= MAX_RETAINED_ARRAY_ITEMS => {
            let mut numbers = Vec::new();
            for _ in 0..length {
                numbers.push(read_number(reader, key, kind)?);
            }
            Ok(whole_numbers(&numbers).map_or(Value::Skipped(length), Value::Numbers))
        }
        (Some(each), _) => {
            reader.skip("an array", each.saturating_mul(length))?;
            Ok(Value::Skipped(length))
        }
        (None, 8) => {
            for _ in 0..length {
                let bytes = reader.u64("a string")?;
                reader.skip("a string", bytes)?;
            }
            Ok(Value::Skipped(length))
        }
        (None, 9) if depth < MAX_ARRAY_DEPTH => {
            for _ in 0..length {
                read_array(reader, key, depth.saturating_add(1))?;
            }
            Ok(Value::Skipped(length))
        }
        _ => Err(invalid(key, format!("an array of type {kind} is not read"))),
    }
}

fn whole_numbers(values: &[Value]) -> Option<Vec<u64>> {
    values
        .iter()
        .map(|value| match value {
            Value::Unsigned(number) => Some(*number),
            Value::Bool(flag) => Some(u64::from(*flag)),
            _ => None,
        })
        .collect()
}

fn invalid(subject: &str, detail: String) -> GgufError {
    GgufError::FieldInvalid { subject: subject.to_owned(), detail }
}

fn alignment(keys: &HashMap<String, Value>) -> Result<u64> {
    const KEY: &str = "general.alignment";
    match keys.get(KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::Unsigned(number)) if number.is_power_of_two() && (8..=MAX_ALIGNMENT).contains(number) => {
            Ok(*number)
        }
        Some(_) => Err(invalid(KEY, format!("it must be a power of two from 8 to {MAX_ALIGNMENT}"))),
    }
}

fn read_table<R: Read>(reader: &mut Reader<R>, count: u64) -> Result<Vec<Tensor>> {
    let mut tensors = Vec::new();
    let mut names = HashSet::new();
    for _ in 0..count {
        let name = read_name(reader, "a tensor's name")?;
        let axes = reader.u32("a tensor's axes")?;
        if axes > MAX_AXES {
            let (found, limit) = (u64::from(axes), u64::from(MAX_AXES));
            return Err(GgufError::LimitExceeded { what: "a tensor's axes", found, limit });
        }
        let mut shape = Vec::new();
        for _ in 0..axes {
            shape.push(reader.u64("a tensor's shape")?);
        }
        let id = reader.u32("a tensor's type")?;
        let begin = reader.u64("a tensor's offset")?;
        let kind = Kind::of(id).ok_or_else(|| GgufError::KindUnknown { tensor: name.clone(), id })?;
        let bytes = kind.bytes_of(&shape).ok_or_else(|| {
            invalid(&name, format!("a shape of {shape:?} is no whole number of {} blocks in 64 bits", kind.name))
        })?;
        if !names.insert(name.clone()) {
            return Err(GgufError::Duplicate { name: format!("tensor {name}") });
        }
        tensors.push(Tensor { name, kind, shape, begin, bytes });
    }
    Ok(tensors)
}

/// Tensors begin at multiples of the alignment, do not share bytes, leave no gap beyond padding, and end in the file.
fn check_cover(tensors: &[Tensor], alignment: u64, available: u64) -> Result<()> {
    let mut order: Vec<&Tensor> = tensors.iter().collect();
    order.sort_unstable_by_key(|tensor| (tensor.begin, tensor.bytes));
    let (mut covered, mut last) = (0_u64, "");
    for tensor in order {
        if tensor.begin.checked_rem(alignment) != Some(0) {
            return Err(invalid(&tensor.name, format!("its offset is no multiple of {alignment}")));
        }
        if tensor.begin < covered {
            return Err(GgufError::TensorOverlap { first: last.to_owned(), second: tensor.name.clone() });
        }
        let padded = covered.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
        if tensor.begin > padded {
            let bytes = tensor.begin.saturating_sub(covered);
            return Err(GgufError::TensorGap { tensor: tensor.name.clone(), bytes });
        }
        let end = tensor.begin.checked_add(tensor.bytes).filter(|&end| end <= available);
        covered = end.ok_or_else(|| GgufError::TensorOverrun {
            tensor: tensor.name.clone(),
            end: tensor.begin.saturating_add(tensor.bytes),
            available,
        })?;
        last = &tensor.name;
    }
    Ok(())
}
