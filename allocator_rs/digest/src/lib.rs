//! One digest over the content of the files that an engine reads.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

use std::fs::File;
use std::io::Read;
use std::path::Path;

const BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// Told apart from other digests of the same bytes.
const CONTEXT: &str = "echoplane 2026 checkpoint files v1";

/// A file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} cannot be read: {detail}")]
pub struct DigestError {
    /// Name within the directory.
    pub file: String,
    /// The system's words.
    pub detail: String,
}

/// BLAKE3 (key derivation mode) over name, length and content of each file, in the order of the names: 64 hex digits.
///
/// Files are read in pieces and hashed on all cores; nothing is mapped, as a file that shrinks meanwhile would kill the
/// process.
///
/// # Errors
/// [`DigestError`] with the first file that cannot be read.
pub fn digest(directory: &Path, files: &[String]) -> Result<String, DigestError> {
    let mut names: Vec<_> = files.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let mut all = blake3::Hasher::new_derive_key(CONTEXT);
    let mut buffer = vec![0_u8; BUFFER_BYTES];
    for name in names {
        let (length, hash) = hash_file(&directory.join(name), &mut buffer)
            .map_err(|error| DigestError { file: name.to_owned(), detail: error.kind().to_string() })?;
        all.update(&(name.len() as u64).to_le_bytes());
        all.update(name.as_bytes());
        all.update(&length.to_le_bytes());
        all.update(hash.as_bytes());
    }
    Ok(all.finalize().to_hex().to_string())
}

fn hash_file(path: &Path, buffer: &mut [u8]) -> std::io::Result<(u64, blake3::Hash)> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    loop {
        let read = fill(&mut file, buffer)?;
        match buffer.get(..read) {
            Some(piece) if !piece.is_empty() => hasher.update_rayon(piece),
            _ => return Ok((hasher.count(), hasher.finalize())),
        };
    }
}

/// Read until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0_usize;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled = filled.saturating_add(read),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::digest;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn depends_on_names_and_content_only() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "one").unwrap();
        fs::write(directory.path().join("b"), "two").unwrap();
        let first = digest(directory.path(), &names(&["a", "b"])).unwrap();
        assert_eq!(first, digest(directory.path(), &names(&["b", "a", "a"])).unwrap());
        fs::write(directory.path().join("b"), "twx").unwrap();
        assert_ne!(first, digest(directory.path(), &names(&["a", "b"])).unwrap());
        assert_eq!(first.len(), 64);
    }

    #[test]
    fn content_cannot_move_between_files() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "onetwo").unwrap();
        fs::write(directory.path().join("b"), "").unwrap();
        let first = digest(directory.path(), &names(&["a", "b"])).unwrap();
        fs::write(directory.path().join("a"), "one").unwrap();
        fs::write(directory.path().join("b"), "two").unwrap();
        assert_ne!(first, digest(directory.path(), &names(&["a", "b"])).unwrap());
    }

    #[test]
    fn pieces_do_not_show() {
        let directory = tempfile::tempdir().unwrap();
        let content = vec![7_u8; super::BUFFER_BYTES + 12_345];
        fs::write(directory.path().join("a"), &content).unwrap();
        let mut all = blake3::Hasher::new_derive_key(super::CONTEXT);
        all.update(&1_u64.to_le_bytes()).update(b"a").update(&(content.len() as u64).to_le_bytes());
        all.update(blake3::hash(&content).as_bytes());
        assert_eq!(digest(directory.path(), &names(&["a"])).unwrap(), all.finalize().to_hex().to_string());
    }

    #[test]
    fn names_the_file_that_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(digest(directory.path(), &names(&["gone"])).unwrap_err().file, "gone");
    }
}
