//! Series that were computed once, in memory and on disk.
//!
//! A file that is damaged, or of another format, tableau or order, counts as missing and is written anew. Names are hashes, so
//! the tableau inside is compared.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::file::{decode, encode};
use crate::{Forest, Series, SeriesError, Tableau};

/// More series than this are not kept in memory; then those there are make room.
const CAPACITY: usize = 256;

/// How often a series was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Found in memory.
    pub memory_hits: u64,
    /// Found on disk.
    pub disk_hits: u64,
    /// Computed.
    pub misses: u64,
}

/// A cache; several threads may share one, and several processes a directory.
#[derive(Debug, Default)]
pub struct Cache {
    directory: Option<PathBuf>,
    memory: Mutex<HashMap<(String, usize), Arc<Series>>>,
    memory_hits: AtomicU64,
    disk_hits: AtomicU64,
    misses: AtomicU64,
}

impl Cache {
    /// A cache in memory, and in a directory where one is given.
    ///
    /// # Errors
    /// [`SeriesError::Cache`] where the directory cannot be made.
    pub fn new(directory: Option<PathBuf>) -> Result<Self, SeriesError> {
        if let Some(path) = &directory {
            fs::create_dir_all(path).map_err(|error| SeriesError::Cache(error.to_string()))?;
        }
        Ok(Self { directory, ..Self::default() })
    }

    /// How often a series was there.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            memory_hits: self.memory_hits.load(Ordering::Relaxed),
            disk_hits: self.disk_hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }

    /// The series of a method: from memory, from disk, or computed and kept in both.
    ///
    /// # Errors
    /// [`SeriesError::Order`], and [`SeriesError::Cache`] where the directory does not take the file.
    pub fn get(&self, tableau: &Tableau, order: usize) -> Result<Arc<Series>, SeriesError> {
        let trees = Forest::count(order)?;
        let key = (tableau.text().to_owned(), order);
        let known = self.memory.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(series) = known {
            self.memory_hits.fetch_add(1, Ordering::Relaxed);
            return Ok(series);
        }
        let path = self.directory.as_deref().map(|directory| directory.join(name(tableau, order)));
        let stored = path.as_deref().and_then(|path| decode(&fs::read(path).ok()?, tableau, order, trees));
        let series = if let Some(series) = stored {
            self.disk_hits.fetch_add(1, Ordering::Relaxed);
            Arc::new(series)
        } else {
            self.misses.fetch_add(1, Ordering::Relaxed);
            let series = Series::new(tableau, order)?;
            if let Some(path) = &path {
                write(path, tableau, &series).map_err(|error| SeriesError::Cache(error.to_string()))?;
            }
            Arc::new(series)
        };
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.len() >= CAPACITY {
            memory.clear();
        }
        memory.insert(key, Arc::clone(&series));
        Ok(series)
    }
}

fn name(tableau: &Tableau, order: usize) -> String {
    format!("{:016x}-{order}.bseries", hash(tableau.text()))
}

/// FNV-1a, 64 bits.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Written beside and renamed, so that no reader sees half a file.
fn write(path: &Path, tableau: &Tableau, series: &Series) -> std::io::Result<()> {
    let beside = path.with_extension(format!("{}.part", std::process::id()));
    fs::write(&beside, encode(tableau, series))?;
    fs::rename(&beside, path)
}
