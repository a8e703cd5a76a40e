//! A stream's state as bytes.
//!
//! Magic and version (8 bytes), the network's fingerprint (8), position in tokens (f64), steps (u64), the number of units
//! (u64), the units as f32, and FNV-1a over all that stands before (8); all little-endian. A state that rests in 16 bits is
//! exact in f32, so it comes back as it was.

use crate::kernel::width;
use crate::weights::Fnv;
use crate::{NetworkError, StreamId, Streams};

const MAGIC: [u8; 8] = *b"EPDTES\x00\x01";
const HEADER: usize = 40;

impl Streams {
    /// Save a stream.
    ///
    /// # Errors
    /// [`NetworkError::StreamUnknown`].
    pub fn save(&self, id: StreamId) -> Result<Vec<u8>, NetworkError> {
        let (position, steps) = self.place(id)?;
        let mut state = vec![0.0; self.network().units()];
        self.read(id, &mut state)?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.network().fingerprint().to_le_bytes());
        bytes.extend(position.to_le_bytes());
        bytes.extend(steps.to_le_bytes());
        bytes.extend((state.len() as u64).to_le_bytes());
        bytes.extend(state.iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend(checksum(&bytes).to_le_bytes());
        Ok(bytes)
    }

    /// Open a stream where a saved one was.
    ///
    /// # Errors
    /// [`NetworkError::Snapshot`], [`NetworkError::Mismatch`] and [`NetworkError::StreamsFull`].
    pub fn restore(&mut self, bytes: &[u8]) -> Result<StreamId, NetworkError> {
        let units = self.network().units();
        let (header, rest) = bytes.split_at_checked(HEADER).ok_or(NetworkError::Snapshot { what: "it is cut off" })?;
        if header[..8] != MAGIC {
            return Err(NetworkError::Snapshot { what: "it begins with other bytes" });
        }
        let found = word(header, 8);
        let expected = self.network().fingerprint();
        if found != expected {
            return Err(NetworkError::Mismatch { found, expected });
        }
        if word(header, 32) != units as u64 || rest.len() != 4 * units + 8 {
            return Err(NetworkError::Snapshot { what: "it is cut off" });
        }
        let (values, sum) = rest.split_at(4 * units);
        if word(sum, 0) != checksum(&bytes[..HEADER + 4 * units]) {
            return Err(NetworkError::Snapshot { what: "its checksum is another" });
        }
        let (values, _) = values.as_chunks::<4>();
        let state: Vec<_> = values.iter().map(|value| f32::from_le_bytes(*value)).collect();
        width("state", state.len(), units)?;
        let position = f64::from_bits(word(header, 16));
        if !position.is_finite() || state.iter().any(|value| value.is_nan() || value.abs() > 1.0) {
            return Err(NetworkError::Snapshot { what: "its values are no state" });
        }
        let id = self.open()?;
        self.put(id, &state, (position, word(header, 24)))?;
        Ok(id)
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    (0..8).rev().fold(0, |value, place| (value << 8) | u64::from(bytes[at + place]))
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut hash = Fnv::default();
    hash.add(bytes);
    hash.0
}
