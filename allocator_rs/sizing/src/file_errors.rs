//! What is said of a file that cannot be read, or only stands for another one.

use std::io;

use crate::SizingError;

/// How a file of Git LFS begins that stands for another one.
pub(crate) const POINTER: &[u8] = b"version https://git-lfs";

/// The error for a pointer of Git LFS.
pub(crate) fn pointer(name: &str) -> SizingError {
    let detail = "it is a Git LFS pointer, not the file itself: fetch it (git lfs pull)".to_owned();
    SizingError::SourceIncomplete { file: name.to_owned(), detail }
}

/// This crate's error for one of the system's.
#[must_use]
pub fn describe(name: &str, error: &io::Error) -> SizingError {
    let file = name.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => SizingError::FileMissing { file },
        io::ErrorKind::CrossesDevices => SizingError::OutsideRoot { file },
        // The only such error is that of `files`: a pipe, a device or a directory.
        io::ErrorKind::InvalidInput => {
            SizingError::FileUnreadable { file, detail: "it is not a regular file".to_owned() }
        }
        kind => SizingError::FileUnreadable { file, detail: kind.to_string() },
    }
}
