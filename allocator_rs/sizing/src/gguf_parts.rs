//! The headers of a GGUF file: its own, or those of all parts of a split one.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};

use gguf::{GgufError, HEADER, Header, Limits, TENSOR_COUNT, Value};

use crate::file_errors::{POINTER, describe, pointer};
use crate::folder::Folder;
use crate::{Result, SizingError};

/// Most parts of one file.
const MAX_PARTS: u64 = 1_024;
/// What all parts may have together: a header in a hole of a file, or under many names, costs its owner nothing, and its reader
/// time and memory.
const WHOLE: Limits = Limits { tensors: 400_000, ..Limits::FILE };

/// Read a header and, where its file is one part of several, the others: their names, and one header of all.
pub(crate) fn read_parts(folder: &Folder, name: &str) -> Result<(Vec<String>, Header)> {
    let header = read_part(folder, name, WHOLE)?;
    let count = header.keys.get("split.count").and_then(Value::as_u64).unwrap_or(1);
    if count <= 1 {
        return Ok((vec![name.to_owned()], header));
    }
    let names = part_names(name, count)?;
    let header = join(folder, &names, (name, header))?;
    Ok((names, header))
}

/// Read one part. `left`: what it and those that are still to be read may have.
fn read_part(folder: &Folder, name: &str, left: Limits) -> Result<Header> {
    let file = folder.open_file(name)?;
    let length = file.metadata().map_err(|error| describe(name, &error))?.len();
    let mut reader = BufReader::new(file);
    if reader.fill_buf().map_err(|error| describe(name, &error))?.starts_with(POINTER) {
        return Err(pointer(name));
    }
    let limits = Limits {
        header_bytes: left.header_bytes.min(Limits::FILE.header_bytes),
        tensors: left.tensors.min(Limits::FILE.tensors),
    };
    gguf::read_within(reader, length, limits).map_err(|error| refusal(name, error))
}

/// The error for a part: what is below a file's own limit is refused for the sake of those that were read before.
fn refusal(name: &str, error: GgufError) -> SizingError {
    let together = |what, limit| SizingError::FilesTooLarge { file: name.to_owned(), what, limit };
    match error {
        GgufError::LimitExceeded { what: TENSOR_COUNT, limit, .. } if limit < Limits::FILE.tensors => {
            together("tensors", WHOLE.tensors)
        }
        GgufError::LimitExceeded { what: HEADER, limit, .. } if limit < Limits::FILE.header_bytes => {
            together("bytes of headers", WHOLE.header_bytes)
        }
        error => SizingError::Gguf { file: name.to_owned(), error },
    }
}

/// The names of all parts, from the name of one: `model-00001-of-00003.gguf`.
fn part_names(name: &str, count: u64) -> Result<Vec<String>> {
    let corrupt = |detail: String| SizingError::FileUnreadable { file: name.to_owned(), detail };
    if count > MAX_PARTS {
        return Err(corrupt(format!("split.count is {count}; at most {MAX_PARTS} parts are read")));
    }
    let ending = format!("-of-{count:05}.gguf");
    let stem = name.strip_suffix(&ending).and_then(|rest| rest.rsplit_once('-')).map(|(stem, _)| stem);
    let Some(stem) = stem else {
        return Err(corrupt(format!("it is one of {count} parts, and its name does not end in -NNNNN{ending}")));
    };
    Ok((1..=count).map(|number| format!("{stem}-{number:05}{ending}")).collect())
}

/// One header of all parts: the first one's keys, and every part's tensors. `read`: the part that was read already.
fn join(folder: &Folder, names: &[String], read: (&str, Header)) -> Result<Header> {
    let mut left = less(WHOLE, &read.1);
    let mut read = Some(read);
    let mut parts = Vec::new();
    for name in names {
        if let Some((_, part)) = read.take_if(|(known, _)| known == name) {
            parts.push(part);
            continue;
        }
        let part = read_part(folder, name, left)?;
        left = less(left, &part);
        parts.push(part);
    }
    refuse_twice(names, &parts)?;
    let mut parts = parts.into_iter();
    let missing = || SizingError::FileMissing { file: names.first().cloned().unwrap_or_default() };
    let mut whole = parts.next().ok_or_else(missing)?;
    whole.tensors.extend(parts.flat_map(|part| part.tensors));
    Ok(whole)
}

/// What is left when a part has been read.
fn less(left: Limits, part: &Header) -> Limits {
    let tensors = u64::try_from(part.tensors.len()).unwrap_or(u64::MAX);
    Limits {
        header_bytes: left.header_bytes.saturating_sub(part.read_bytes),
        tensors: left.tensors.saturating_sub(tensors),
    }
}

/// Refuse a tensor that an earlier part has as well: no engine would say which one it serves.
fn refuse_twice(names: &[String], parts: &[Header]) -> Result<()> {
    let mut seen = HashSet::new();
    for (name, part) in names.iter().zip(parts) {
        for tensor in &part.tensors {
            if !seen.insert(tensor.name.as_str()) {
                return Err(SizingError::TensorDuplicate { file: name.clone(), tensor: tensor.name.clone() });
            }
        }
    }
    Ok(())
}
