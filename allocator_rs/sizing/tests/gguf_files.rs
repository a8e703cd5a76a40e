//! GGUF files, whole and split: which files one is, what they were when they were read, and what all parts may have together.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use files::Identity;
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
