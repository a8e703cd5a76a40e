//! GGUF files, whole and split: which files one is, what they were when they were read, and what all parts may have together.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::Path;

use files::Identity;
use gguf::GgufError;
use sizing::{SizingError, survey};

fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes()[..], value.as_bytes()].concat()
}

fn number(key: &str, value: u32) -> Vec<u8> {
    [text(key), 4_u32.to_le_bytes().to_vec(), value.to_le_bytes().to_vec()].concat()
}

/// A file of fp32 tensors of one element each, by their names, one of `parts`; `more` are further keys.
fn encode(tensors: &[String], parts: u32, more: &[Vec<u8>]) -> Vec<u8> {
    let mut keys = vec![
        [text("general.architecture"), 8_u32.to_le_bytes().to_vec(), text("llama")].concat(),
        number("llama.block_count", 1),
        number("llama.embedding_length", 64),
        number("llama.attention.head_count", 1),
        number("llama.vocab_size", 64),
        number("split.count", parts),
    ];
    keys.extend_from_slice(more);
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((keys.len() as u64).to_le_bytes());
    out.extend(keys.concat());
    for (at, name) in tensors.iter().enumerate() {
        out.extend(text(name));
        out.extend([0_u32.to_le_bytes(), 0_u32.to_le_bytes()].concat());
        out.extend((at as u64 * 32).to_le_bytes());
    }
    out.resize(out.len().next_multiple_of(32) + tensors.len() * 32, 0);
    out
}

fn named(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{prefix}{at:x}")).collect()
}

#[test]
fn each_file_is_told_as_it_was_read() {
    let directory = tempfile::tempdir().unwrap();
    let (root, cache) = (directory.path(), directory.path().join("blobs"));
    let snapshot = root.join("snapshots/r");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir(&cache).unwrap();
    for (part, blob) in [("m-00001-of-00002.gguf", "aa"), ("m-00002-of-00002.gguf", "bb")] {
        fs::write(cache.join(blob), encode(&named(blob, 2), 2, &[])).unwrap();
        symlink(Path::new("../../blobs").join(blob), snapshot.join(part)).unwrap();
    }
    for path in [snapshot.join("m-00001-of-00002.gguf"), snapshot.join("m-00002-of-00002.gguf"), snapshot.clone()] {
        let found = survey(&path, Some(root)).unwrap();
        let contents: Vec<_> = found.contents.iter().map(|one| (one.name.as_str(), one.path.as_str())).collect();
        assert_eq!(contents, [("m-00001-of-00002.gguf", "blobs/aa"), ("m-00002-of-00002.gguf", "blobs/bb")]);
        assert_eq!(found.contents.iter().map(|one| one.name.clone()).collect::<Vec<_>>(), found.files);
        for (one, blob) in found.contents.iter().zip(["aa", "bb"]) {
            assert_eq!(one.identity, Identity::of(&File::open(cache.join(blob)).unwrap()).unwrap());
        }
    }
}

#[test]
fn no_part_is_read_outside_the_root() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("m-00001-of-00002.gguf"), encode(&named("a", 1), 2, &[])).unwrap();
    fs::write(directory.path().join("other"), encode(&named("b", 1), 2, &[])).unwrap();
    symlink("../other", root.join("m-00002-of-00002.gguf")).unwrap();
    let path = root.join("m-00001-of-00002.gguf");
    assert!(matches!(survey(&path, Some(&root)), Err(SizingError::OutsideRoot { .. })));
    assert!(survey(&path, None).is_ok());
}

/// Write the parts of a file, each with what `part` makes of its number; survey the first one.
fn refused(parts: u32, part: impl Fn(u32) -> Vec<u8>) -> SizingError {
    let directory = tempfile::tempdir().unwrap();
    let path = |number: u32| directory.path().join(format!("m-{number:05}-of-{parts:05}.gguf"));
    for number in 1..=parts {
        fs::write(path(number), part(number)).unwrap();
    }
    survey(&path(1), None).unwrap_err()
}

#[test]
fn all_parts_have_a_bound_of_tensors_together() {
    let names = named("", 100_000);
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("whole");
    fs::write(&whole, encode(&names, 1_024, &[])).unwrap();
    let path = |number: u32| directory.path().join(format!("m-{number:05}-of-01024.gguf"));
    // No sixth part: nothing is read of one that is beyond the bound.
    for number in 1..=5 {
        fs::hard_link(&whole, path(number)).unwrap();
    }
    let error = survey(&path(1), None).unwrap_err();
    let SizingError::FilesTooLarge { file, what, limit } = &error else { panic!("{error}") };
    assert_eq!((file.as_str(), *what, *limit), ("m-00005-of-01024.gguf", "tensors", 400_000));
    assert!(error.to_string().contains("fetch them again"), "{error}");
}

#[test]
fn all_parts_have_a_bound_of_header_bytes_together() {
    let directory = tempfile::tempdir().unwrap();
    let path = |number: u32| directory.path().join(format!("m-{number:05}-of-00003.gguf"));
    let text = |length: u64| [&text("general.description")[..], &8_u32.to_le_bytes(), &length.to_le_bytes()].concat();
    let half = 130 << 20;
    let header = encode(&[], 3, &[text(half)]);
    // The text is a hole: it costs its owner nothing.
    fs::write(path(1), &header).unwrap();
    OpenOptions::new().write(true).open(path(1)).unwrap().set_len(header.len() as u64 + half + 64).unwrap();
    fs::hard_link(path(1), path(2)).unwrap();
    let error = survey(&path(1), None).unwrap_err();
    let SizingError::FilesTooLarge { file, what, limit } = &error else { panic!("{error}") };
    assert_eq!((file.as_str(), *what, *limit), ("m-00002-of-00003.gguf", "bytes of headers", 256 << 20));
    // One file has the bound alone, and says so.
    let whole = directory.path().join("whole.gguf");
    let header = encode(&[], 1, &[text(2 * half)]);
    fs::write(&whole, &header).unwrap();
    OpenOptions::new().write(true).open(&whole).unwrap().set_len(header.len() as u64 + 2 * half + 64).unwrap();
    let Err(SizingError::Gguf { error: GgufError::LimitExceeded { limit, .. }, .. }) = survey(&whole, None) else {
        panic!("it is read")
    };
    assert_eq!(limit, 256 << 20);
}

#[test]
fn a_tensor_of_two_parts_is_refused() {
    let error = refused(3, |number| encode(&[format!("t{}", number % 2)], 3, &[]));
    let SizingError::TensorDuplicate { file, tensor } = error else { panic!("{error}") };
    assert_eq!((file.as_str(), tensor.as_str()), ("m-00003-of-00003.gguf", "t1"));
}
