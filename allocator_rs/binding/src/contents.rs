//! Files of a checkpoint: opened beneath a root, told apart, and put into one digest.

use std::os::fd::IntoRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::digest::KnownFile;
use files::{Identity, Root};
use pyo3::prelude::*;

use crate::errors;
use crate::guard::detach;

/// A file as Python has it: name, path beneath the root, size, inode, time of its last change.
pub type FileTuple = (String, String, u64, u64, i64);

/// Ends a digest that another thread computes.
#[pyclass(frozen, module = "echoplaned._allocator")]
pub struct StopFlag(Arc<AtomicBool>);

#[pymethods]
impl StopFlag {
    #[new]
    fn new() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// BLAKE3 over name, length and content of files in a directory; 64 hex digits.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts paths and lists by value")]
pub fn digest(python: Python<'_>, directory: PathBuf, files: Vec<String>) -> PyResult<String> {
    detach(python, || ::digest::digest(&directory, &files))?.map_err(|error| errors::digest(&error))
}

/// The same of files that were read before, which must be what they were then.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts paths and lists by value")]
pub fn digest_known(python: Python<'_>, root: PathBuf, files: Vec<FileTuple>, stop: &StopFlag) -> PyResult<String> {
    let files: Vec<_> = files.into_iter().map(known).collect();
    let flag = Arc::clone(&stop.0);
    detach(python, || ::digest::digest_known(&root, &files, &|| flag.load(Ordering::Relaxed)))?
        .map_err(|error| errors::digest(&error))
}

fn known((name, path, size_bytes, inode, change_time_ns): FileTuple) -> KnownFile {
    KnownFile { name, path, identity: Identity { size_bytes, inode, change_time_ns } }
}

/// Open a regular file beneath a root and return its descriptor, which the caller closes.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts paths by value")]
pub fn open_beneath(python: Python<'_>, root: PathBuf, path: PathBuf) -> PyResult<i32> {
    Ok(detach(python, || Root::open(&root)?.open_file(&path))??.into_raw_fd())
}
