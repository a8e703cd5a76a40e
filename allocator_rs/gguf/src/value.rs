//! Values of keys: what is small is kept, the rest is counted.

/// Longest string that is kept; longer ones are skipped.
pub(crate) const MAX_RETAINED_STRING_BYTES: u64 = 1024;
/// Longest array of numbers that is kept; longer ones are skipped.
pub(crate) const MAX_RETAINED_ARRAY_ITEMS: u64 = 1024;

/// A key's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number that is not negative.
    Unsigned(u64),
    /// A negative number.
    Negative(i64),
    /// A float.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A string of at most 1,024 bytes.
    Text(String),
    /// An array of at most 1,024 whole numbers or flags, none of them negative.
    Numbers(Vec<u64>),
    /// Anything longer, or of another kind: its length.
    Skipped(u64),
}

impl Value {
    /// The number, where it is one.
    #[must_use]
    pub const fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, where it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}
