//! What a checkpoint's tokenizer takes in memory: by the size of `tokenizer.json`, or by the vocabulary where there is none.

use std::io::Read;

use crate::Result;
use crate::file_errors::describe;
use crate::math::product;
use crate::source::Source;

/// The file of the `tokenizers` library.
pub const TOKENIZER_NAME: &str = "tokenizer.json";
/// Bytes at the beginning within which the model's type is looked for: it follows the added tokens and precedes the vocabulary.
const HEAD_BYTES: u64 = 1 << 20;
/// Bytes in memory for a word of the vocabulary where there is no file: between a list of words (300 to 380) and one of merges (380 to 640).
const WORD_BYTES: u64 = 400;

/// How a tokenizer's vocabulary is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenizerKind {
    /// Words, or pieces of them, by their number.
    Words,
    /// Pairs that are merged.
    Merges,
    /// Pieces with a probability, in a trie.
    Unigram,
    /// Some other.
    Unknown,
}

impl TokenizerKind {
    /// Bytes in memory for each byte of the file, measured with tokenizers 0.22 on vocabularies of 8,000 to 120,000: growth of a process
    /// that keeps the tokenizer, 13.0 to 19.9 for words, 5.1 to 8.9 for merges, 23.0 to 26.2 for unigrams.
    const fn factor(self) -> u64 {
        match self {
            Self::Words => 18,
            Self::Merges => 6,
            Self::Unigram => 24,
            Self::Unknown => 20,
        }
    }

    fn named(name: &str) -> Self {
        match name {
            "WordPiece" | "WordLevel" => Self::Words,
            "BPE" => Self::Merges,
            "Unigram" => Self::Unigram,
            _ => Self::Unknown,
        }
    }

    /// The kind that the beginning of a file names.
    fn of(head: &str) -> Self {
        let mut rest = head;
        while let Some((_, after)) = rest.split_once("\"model\"") {
            rest = after;
            let Some(object) = after.trim_start().strip_prefix(':').map(str::trim_start) else { continue };
            let Some(inside) = object.strip_prefix('{').map(str::trim_start) else { continue };
            let quoted = inside.strip_prefix("\"type\"").map(str::trim_start).and_then(|text| text.strip_prefix(':'));
            let name = quoted.map(str::trim_start).and_then(|text| text.strip_prefix('"')?.split('"').next());
            return name.map_or(Self::Unknown, Self::named);
        }
        Self::Unknown
    }
}

/// A `tokenizer.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokenizer {
    /// By its model's type.
    pub kind: TokenizerKind,
    /// The file's length.
    pub file_bytes: u64,
}

impl Tokenizer {
    /// Look at a checkpoint's file; `None`: it has none.
    ///
    /// # Errors
    /// [`crate::SizingError::FileUnreadable`], [`crate::SizingError::SourceNotAllowed`].
    pub fn of(source: &Source) -> Result<Option<Self>> {
        if !source.has(TOKENIZER_NAME) {
            return Ok(None);
        }
        let named = |error: &std::io::Error| describe(TOKENIZER_NAME, error);
        let file = source.open_file(TOKENIZER_NAME)?;
        let file_bytes = file.metadata().map_err(|error| named(&error))?.len();
        let mut head = Vec::new();
        file.take(HEAD_BYTES).read_to_end(&mut head).map_err(|error| named(&error))?;
        Ok(Some(Self { kind: TokenizerKind::of(&String::from_utf8_lossy(&head)), file_bytes }))
    }
}

/// Bytes in memory, and the numbers that they come from.
///
/// # Errors
/// [`crate::SizingError::Overflow`].
pub fn memory(tokenizer: Option<Tokenizer>, vocabulary: u64) -> Result<(u64, [(&'static str, u64); 2])> {
    let (count, factor, names) = match tokenizer {
        Some(file) => (file.file_bytes, file.kind.factor(), ["file_bytes", "factor"]),
        None => (vocabulary, WORD_BYTES, ["vocabulary", "bytes_per_word"]),
    };
    let [first, second] = names;
    Ok((product("the tokenizer", &[count, factor])?, [(first, count), (second, factor)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The model's type is found whatever else is called "model".
    #[test]
    fn kinds_are_told() {
        for (head, kind) in [
            (r#"{"version":"1.0","model":{"type":"WordPiece","vocab":{"#, TokenizerKind::Words),
            ("{\"model\" : {\n \"type\" : \"BPE\",", TokenizerKind::Merges),
            (r#"{"added_tokens":[{"content":"model"},{"model":3}],"model":{"type":"Unigram""#, TokenizerKind::Unigram),
            (r#"{"model":{"merges":[]}}"#, TokenizerKind::Unknown),
            (r#"{"model":{"type":"#, TokenizerKind::Unknown),
            ("", TokenizerKind::Unknown),
        ] {
            assert_eq!(TokenizerKind::of(head), kind, "{head}");
        }
    }

    /// Measured: `MiniLM`'s file of 466,247 bytes takes 9.3 MB; a vocabulary too large for a number of bytes is refused.
    #[test]
    fn memory_follows_the_file() {
        let minilm = Tokenizer { kind: TokenizerKind::Words, file_bytes: 466_247 };
        assert_eq!(memory(Some(minilm), 0).unwrap().0, 18 * 466_247);
        assert_eq!(memory(None, 30_000).unwrap().0, 12_000_000);
        assert!(memory(None, u64::MAX).is_err());
    }
}
