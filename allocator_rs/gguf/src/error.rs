//! What can be wrong with a GGUF file.

/// This crate's results.
pub type Result<T> = std::result::Result<T, GgufError>;

/// One variant a cause; the Python binding has one exception class for each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    /// The file does not begin as the format asks.
    #[error("not a GGUF file: it begins with {found:02x?}")]
    MagicInvalid {
        /// Its first four bytes.
        found: [u8; 4],
    },
    /// A version of the format that is not read.
    #[error("GGUF version {version} is not read; versions 2 and 3 are (3 little-endian)")]
    VersionUnsupported {
        /// The version.
        version: u32,
    },
    /// The file ends within its header.
    #[error("the header is cut short at byte {at}: {what} needs {needed} bytes more")]
    HeaderTruncated {
        /// Where reading stood.
        at: u64,
        /// What was being read.
        what: &'static str,
        /// Bytes that are wanted.
        needed: u64,
    },
    /// A count or a length is beyond what is read.
    #[error("{what} is {found}; at most {limit} are read")]
    LimitExceeded {
        /// What is too large.
        what: &'static str,
        /// What the file says.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A key's or a tensor's fields are not what the format allows.
    #[error("{subject}: {detail}")]
    FieldInvalid {
        /// The key or the tensor.
        subject: String,
        /// What is wrong.
        detail: String,
    },
    /// A tensor's type is not in the table of types.
    #[error("tensor {tensor}: type {id} is unknown")]
    KindUnknown {
        /// The tensor.
        tensor: String,
        /// The type's number.
        id: u32,
    },
    /// Two tensors share bytes.
    #[error("tensors {first} and {second} overlap")]
    TensorOverlap {
        /// The one that begins first.
        first: String,
        /// The one that begins inside it.
        second: String,
    },
    /// Bytes that belong to no tensor, beyond what alignment asks for.
    #[error("{bytes} bytes before {tensor} belong to no tensor")]
    TensorGap {
        /// The tensor after the gap.
        tensor: String,
        /// The gap.
        bytes: u64,
    },
    /// A tensor ends behind the end of the file.
    #[error("tensor {tensor} ends at byte {end} of {available}: the file is cut short")]
    TensorOverrun {
        /// The tensor.
        tensor: String,
        /// Its end within the data section.
        end: u64,
        /// The data section's bytes.
        available: u64,
    },
    /// A key or a tensor is named twice.
    #[error("{name} is there twice")]
    Duplicate {
        /// The name.
        name: String,
    },
}
