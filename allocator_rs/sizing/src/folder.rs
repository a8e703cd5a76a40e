//! A folder whose files are opened beneath a root, each remembered as it was when it was first opened.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use files::{Identity, Root};

use crate::file_errors::describe;
use crate::{Result, SizingError};

/// A file of a checkpoint as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path within the checkpoint.
    pub name: String,
    /// Path beneath the root, free of links.
    pub path: String,
    /// What it was.
    pub identity: Identity,
}

/// A folder whose files may be opened.
#[derive(Debug)]
pub struct Folder {
    directory: PathBuf,
    /// Free of links; `/` where any file may be read.
    root: PathBuf,
    handle: Root,
    /// What was opened so far, by name: as it was the first time.
    opened: RefCell<BTreeMap<String, SourceFile>>,
}

impl Folder {
    /// `root`: every file that is opened must lie beneath it once its links are followed; None: beneath `/`.
    ///
    /// # Errors
    /// What [`describe`] says of the root.
    pub fn open(directory: &Path, root: Option<&Path>) -> Result<Self> {
        const ROOT: &str = "the allowed root";
        let root = fs::canonicalize(root.unwrap_or(Path::new("/"))).map_err(|error| describe(ROOT, &error))?;
        let handle = Root::open(&root).map_err(|error| describe(ROOT, &error))?;
        Ok(Self { directory: directory.to_owned(), root, handle, opened: RefCell::default() })
    }

    /// Open a file: regular, and beneath the root once links are followed, for which the kernel stands.
    ///
    /// # Errors
    /// [`SizingError::FileMissing`], [`SizingError::FileUnreadable`], [`SizingError::OutsideRoot`].
    pub fn open_file(&self, name: &str) -> Result<File> {
        let told = |error: &io::Error| describe(name, error);
        let path = fs::canonicalize(self.directory.join(name)).map_err(|error| told(&error))?;
        let outside = || SizingError::OutsideRoot { file: name.to_owned() };
        let beneath = path.strip_prefix(&self.root).map_err(|_| outside())?;
        let file = self.handle.open_file(beneath).map_err(|error| told(&error))?;
        let identity = Identity::of(&file).map_err(|error| told(&error))?;
        let Some(path) = beneath.to_str().map(str::to_owned) else {
            let detail = "its path is not UTF-8".to_owned();
            return Err(SizingError::FileUnreadable { file: name.to_owned(), detail });
        };
        let seen = SourceFile { name: name.to_owned(), path, identity };
        self.opened.borrow_mut().entry(name.to_owned()).or_insert(seen);
        Ok(file)
    }

    /// Files as they were when they were first opened here; one that was not is opened now.
    ///
    /// # Errors
    /// As [`Self::open_file`].
    pub fn contents(&self, names: &[String]) -> Result<Vec<SourceFile>> {
        for name in names {
            if !self.opened.borrow().contains_key(name) {
                self.open_file(name)?;
            }
        }
        let opened = self.opened.borrow();
        Ok(names.iter().filter_map(|name| opened.get(name)).cloned().collect())
    }
}
