//! Reads little-endian numbers from a source of known length.

use std::io::{self, Read};

use crate::{GgufError, Result};

/// What [`GgufError::LimitExceeded`] names where a header is beyond its limit in bytes.
pub const HEADER: &str = "the header";

/// A source that knows how much of it is left, so that no count is believed that it cannot hold.
pub struct Reader<R> {
    inner: R,
    at: u64,
    length: u64,
    /// Most bytes that are read, whatever the length.
    limit: u64,
}

impl<R: Read> Reader<R> {
    pub const fn new(inner: R, length: u64, limit: u64) -> Self {
        Self { inner, at: 0, length, limit }
    }

    pub const fn at(&self) -> u64 {
        self.at
    }

    pub const fn left(&self) -> u64 {
        self.length.saturating_sub(self.at)
    }

    /// Whether so many bytes more are there and are read. A hole in a file costs its owner nothing, and its reader time.
    fn check(&self, what: &'static str, needed: u64) -> Result<()> {
        if needed > self.left() {
            return Err(self.truncated(what, needed));
        }
        let found = self.at.saturating_add(needed);
        if found > self.limit {
            return Err(GgufError::LimitExceeded { what: HEADER, found, limit: self.limit });
        }
        Ok(())
    }

    fn truncated(&self, what: &'static str, needed: u64) -> GgufError {
        GgufError::HeaderTruncated { at: self.at, what, needed }
    }

    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let mut bytes = [0_u8; N];
        let needed = u64::try_from(N).unwrap_or(u64::MAX);
        self.check(what, needed)?;
        self.inner.read_exact(&mut bytes).map_err(|_| self.truncated(what, needed))?;
        self.at = self.at.saturating_add(needed);
        Ok(bytes)
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, what: &'static str) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count of things of at least `least_bytes` each.
    pub fn count(&mut self, what: &'static str, least_bytes: u64, limit: u64) -> Result<u64> {
        let found = self.u64(what)?;
        if found > limit {
            return Err(GgufError::LimitExceeded { what, found, limit });
        }
        let needed = found.saturating_mul(least_bytes);
        if needed > self.left() {
            return Err(self.truncated(what, needed));
        }
        Ok(found)
    }

    /// A string of at most `limit` bytes; `Err` within `Ok` gives the length of one that is longer and was skipped.
    pub fn text(&mut self, what: &'static str, limit: u64) -> Result<std::result::Result<String, u64>> {
        let length = self.u64(what)?;
        self.check(what, length)?;
        if length > limit {
            self.skip(what, length)?;
            return Ok(Err(length));
        }
        let mut bytes = vec![0_u8; usize::try_from(length).unwrap_or(0)];
        self.inner.read_exact(&mut bytes).map_err(|_| self.truncated(what, length))?;
        self.at = self.at.saturating_add(length);
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Ok(text)),
            Err(_) => Err(GgufError::FieldInvalid { subject: what.to_owned(), detail: "it is not UTF-8".to_owned() }),
        }
    }

    pub fn skip(&mut self, what: &'static str, bytes: u64) -> Result<()> {
        self.check(what, bytes)?;
        let skipped = io::copy(&mut self.inner.by_ref().take(bytes), &mut io::sink());
        if skipped.is_ok_and(|done| done == bytes) {
            self.at = self.at.saturating_add(bytes);
            return Ok(());
        }
        Err(self.truncated(what, bytes))
    }
}
