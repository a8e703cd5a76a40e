//! One digest over the content of the files that an engine reads.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::OnceLock;

use files::{Identity, Root, open_regular};
use rayon_core::{ThreadPool, ThreadPoolBuilder};

const BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// More threads than this wait for the disk.
const MAX_THREADS: usize = 8;
/// Told apart from other digests of the same bytes.
const CONTEXT: &str = "echoplane 2026 checkpoint files v1";

/// There is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// A file could not be read.
    #[error("{file} cannot be read: {detail}")]
    Unreadable {
        /// Name within the directory.
        file: String,
        /// The system's words.
        detail: String,
    },
    /// A file is another one than was named, or was written meanwhile.
    #[error("{file} changed while the checkpoint was read")]
    Changed {
        /// Name within the directory.
        file: String,
    },
    /// Whoever asked wants it no more.
    #[error("the digest was stopped")]
    Stopped,
}

/// A file whose identity is known.
#[derive(Debug, Clone)]
pub struct KnownFile {
    /// Name within the directory.
    pub name: String,
    /// Path beneath the root.
    pub path: String,
    /// What it was when it was read before.
    pub identity: Identity,
}

/// BLAKE3 (key derivation mode) over name, length and content of each file, in the order of the names: 64 hex digits.
///
/// Files are read in pieces and hashed on half of the cores; nothing is mapped, as a file that shrinks meanwhile would kill the
/// process.
///
/// # Errors
/// [`DigestError`] with the first file that cannot be read.
pub fn digest(directory: &Path, files: &[String]) -> Result<String, DigestError> {
    let mut names: Vec<_> = files.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let mut digest = Digest::new();
    for name in names {
        let mut file = open_regular(&directory.join(name)).map_err(|error| unreadable(name, &error))?;
        digest.add(name, &mut file, &|| false)?;
    }
    Ok(digest.finish())
}

/// The same of files that were read before: each is opened beneath the root, and must be, before and after, what it was.
///
/// `stop` is asked between pieces of 8 MiB.
///
/// # Errors
/// [`DigestError`].
pub fn digest_known(root: &Path, files: &[KnownFile], stop: &dyn Fn() -> bool) -> Result<String, DigestError> {
    let mut files: Vec<_> = files.iter().collect();
    files.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    files.dedup_by(|one, other| one.name == other.name);
    let root = Root::open(root).map_err(|error| unreadable("the allowed root", &error))?;
    let mut digest = Digest::new();
    for known in files {
        let name = known.name.as_str();
        let mut file = root.open_file(Path::new(&known.path)).map_err(|error| unreadable(name, &error))?;
        check(known, &file)?;
        digest.add(name, &mut file, stop)?;
        check(known, &file)?;
    }
    Ok(digest.finish())
}

fn check(known: &KnownFile, file: &File) -> Result<(), DigestError> {
    let now = Identity::of(file).map_err(|error| unreadable(&known.name, &error))?;
    if now == known.identity { Ok(()) } else { Err(DigestError::Changed { file: known.name.clone() }) }
}

fn unreadable(name: &str, error: &io::Error) -> DigestError {
    DigestError::Unreadable { file: name.to_owned(), detail: error.kind().to_string() }
}

/// The digest of the files so far.
struct Digest {
    all: blake3::Hasher,
    buffer: Vec<u8>,
}

impl Digest {
    fn new() -> Self {
        Self { all: blake3::Hasher::new_derive_key(CONTEXT), buffer: vec![0_u8; BUFFER_BYTES] }
    }

    fn add(&mut self, name: &str, file: &mut File, stop: &dyn Fn() -> bool) -> Result<(), DigestError> {
        let mut hasher = blake3::Hasher::new();
        loop {
            if stop() {
                return Err(DigestError::Stopped);
            }
            let read = fill(file, &mut self.buffer).map_err(|error| unreadable(name, &error))?;
            match self.buffer.get(..read) {
                Some(piece) if !piece.is_empty() => update(&mut hasher, piece),
                _ => break,
            }
        }
        self.all.update(&(name.len() as u64).to_le_bytes());
        self.all.update(name.as_bytes());
        self.all.update(&hasher.count().to_le_bytes());
        self.all.update(hasher.finalize().as_bytes());
        Ok(())
    }

    fn finish(self) -> String {
        self.all.finalize().to_hex().to_string()
    }
}

/// Hash a piece, on threads of its own: the gates' work is not to wait for a caller's file.
fn update(hasher: &mut blake3::Hasher, piece: &[u8]) {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get().div_euclid(2));
        if threads > 1 { ThreadPoolBuilder::new().num_threads(threads.min(MAX_THREADS)).build().ok() } else { None }
    });
    if let Some(pool) = pool {
        pool.install(|| hasher.update_rayon(piece));
    } else {
        hasher.update(piece);
    }
}

/// Read until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0_usize;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled = filled.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

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
        let error = digest(directory.path(), &names(&["gone"])).unwrap_err();
        assert!(matches!(error, DigestError::Unreadable { file, .. } if file == "gone"));
    }

    fn known(root: &Path, name: &str) -> KnownFile {
        let identity = Identity::of(&open_regular(&root.join(name)).unwrap()).unwrap();
        KnownFile { name: name.to_owned(), path: name.to_owned(), identity }
    }

    #[test]
    fn of_known_files_it_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "one").unwrap();
        fs::write(directory.path().join("b"), "two").unwrap();
        let files = [known(directory.path(), "b"), known(directory.path(), "a")];
        let plain = digest(directory.path(), &names(&["a", "b"])).unwrap();
        assert_eq!(digest_known(directory.path(), &files, &|| false).unwrap(), plain);
    }

    #[test]
    fn a_file_that_changed_has_none() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "one").unwrap();
        let file = known(directory.path(), "a");
        fs::remove_file(directory.path().join("a")).unwrap();
        fs::write(directory.path().join("b"), "").unwrap();
        fs::write(directory.path().join("a"), "one").unwrap();
        let error = digest_known(directory.path(), &[file], &|| false).unwrap_err();
        assert_eq!(error, DigestError::Changed { file: "a".to_owned() });
    }

    #[test]
    fn it_stops_between_pieces() {
        let directory = tempfile::tempdir().unwrap();
        // A hole: 1 TiB by its length, nothing on the disk.
        fs::File::create(directory.path().join("a")).unwrap().set_len(1 << 40).unwrap();
        let asked = std::cell::Cell::new(0);
        let stop = || asked.replace(asked.get() + 1) == 3;
        let files = [known(directory.path(), "a")];
        assert_eq!(digest_known(directory.path(), &files, &stop).unwrap_err(), DigestError::Stopped);
    }
}
