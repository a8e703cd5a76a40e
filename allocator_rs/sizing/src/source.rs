//! A checkpoint directory: which files are read, and what is refused before any of them is opened.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::file_errors::{POINTER, describe, pointer};
use crate::folder::{Folder, SourceFile};
use crate::{Result, SizingError};

/// The weights of a checkpoint in one file.
pub const SINGLE_NAME: &str = "model.safetensors";
/// The index's file name.
pub const INDEX_NAME: &str = "model.safetensors.index.json";
/// The model's configuration.
pub const CONFIG_NAME: &str = "config.json";
const MAX_DEPTH: usize = 4;
const MAX_ENTRIES: usize = 10_000;
/// Files that hold pickles, or other formats that are not read.
const PICKLES: [&str; 6] = ["bin", "pt", "pth", "ckpt", "pkl", "pickle"];
/// What an engine reads beside config and weights, where it is there.
const COMPANIONS: [&str; 17] = [
    "1_Pooling/config.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config_sentence_transformers.json",
    "generation_config.json",
    "merges.txt",
    "modules.json",
    "sentence_bert_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
];

/// A checkpoint directory whose files may be opened.
#[derive(Debug)]
pub struct Source {
    folder: Folder,
    names: BTreeSet<String>,
}

impl Source {
    /// List a directory; where `served`, refuse it if it holds pickles in the place of safetensors.
    ///
    /// Python files are left where they are: nothing imports them.
    ///
    /// `root`: every file that is read must lie beneath it once its links are followed.
    ///
    /// # Errors
    /// [`SizingError::SourceUnsafe`], [`SizingError::FileMissing`], [`SizingError::FileUnreadable`].
    pub fn open(directory: &Path, root: Option<&Path>, served: bool) -> Result<Self> {
        let folder = Folder::open(directory, root)?;
        let mut names = BTreeSet::new();
        list(directory, "", 0, &mut names)?;
        let source = Self { folder, names };
        if served {
            source.refuse_pickles()?;
        }
        Ok(source)
    }

    fn refuse_pickles(&self) -> Result<()> {
        let refuse = |file: &str, detail: &str| {
            Err(SizingError::SourceUnsafe { file: file.to_owned(), detail: detail.to_owned() })
        };
        if !self.is_sharded()
            && !self.names.contains(SINGLE_NAME)
            && let Some(file) = self.names.iter().find(|name| has_extension(name, &PICKLES))
        {
            return refuse(file, "pickles can run code; save the weights as safetensors");
        }
        Ok(())
    }

    /// Whether the weights are in several files.
    #[must_use]
    pub fn is_sharded(&self) -> bool {
        !self.names.contains(SINGLE_NAME) && self.names.contains(INDEX_NAME)
    }

    /// Whether a file of this name is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The one GGUF model of a directory, its first part where it is split; a projector beside it counts for nothing.
    ///
    /// # Errors
    /// [`SizingError::FileUnreadable`] where there are several.
    pub fn gguf_model(&self) -> Result<Option<String>> {
        let is_later = |name: &str| {
            let part = name.rsplit_once("-of-").and_then(|(stem, _)| stem.rsplit_once('-')).map(|(_, number)| number);
            part.is_some_and(|number| {
                number.len() == 5 && number != "00001" && number.bytes().all(|b| b.is_ascii_digit())
            })
        };
        let all: Vec<&String> = self.names.iter().filter(|name| has_extension(name, &["gguf"])).collect();
        let models: Vec<&&String> =
            all.iter().filter(|name| !is_later(name) && !name.to_ascii_lowercase().contains("mmproj")).collect();
        match (models.as_slice(), all.as_slice()) {
            ([one], _) => Ok(Some((**one).clone())),
            ([], [one]) => Ok(Some((*one).clone())),
            ([], []) => Ok(None),
            _ => Err(SizingError::FileUnreadable {
                file: "the directory".to_owned(),
                detail: "it holds several GGUF files: name one".to_owned(),
            }),
        }
    }

    /// Refuse shards without the index that says what is in them.
    ///
    /// # Errors
    /// [`SizingError::FileMissing`].
    pub fn refuse_loose_shards(&self) -> Result<()> {
        let is_shard =
            |name: &&String| name.starts_with("model-") && name.contains("-of-") && name.ends_with(".safetensors");
        match self.names.iter().find(is_shard) {
            Some(_) => Err(SizingError::FileMissing { file: INDEX_NAME.to_owned() }),
            None => Ok(()),
        }
    }

    /// The folder itself, from which files are opened.
    #[must_use]
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Open a file.
    ///
    /// # Errors
    /// As [`Folder::open_file`].
    pub fn open_file(&self, name: &str) -> Result<File> {
        self.folder.open_file(name)
    }

    /// Every file that an engine will read, as it was when it was first opened here.
    ///
    /// # Errors
    /// As [`Self::open_file`].
    pub fn engine_contents(&self, shards: &BTreeSet<String>) -> Result<Vec<SourceFile>> {
        self.folder.contents(&self.engine_files(shards))
    }

    /// Names of every file that an engine will read, sorted; `shards` are the weights' files.
    #[must_use]
    pub fn engine_files(&self, shards: &BTreeSet<String>) -> Vec<String> {
        let mut files: BTreeSet<String> = shards.clone();
        files.insert(CONFIG_NAME.to_owned());
        files.extend(COMPANIONS.iter().filter(|name| self.has(name)).map(|name| (*name).to_owned()));
        if self.is_sharded() {
            files.insert(INDEX_NAME.to_owned());
        }
        files.into_iter().collect()
    }
}

/// Collect the relative names of all files beneath a directory; links to directories are not followed.
fn list(directory: &Path, prefix: &str, depth: usize, names: &mut BTreeSet<String>) -> Result<()> {
    let shown = if prefix.is_empty() { "the checkpoint directory" } else { prefix };
    let entries = fs::read_dir(directory).map_err(|error| describe(shown, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| describe(shown, &error))?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(|error| describe(&name, &error))?;
        if kind.is_dir() {
            if depth < MAX_DEPTH {
                list(&entry.path(), &format!("{name}/"), depth.saturating_add(1), names)?;
            }
        } else {
            names.insert(name);
        }
        if names.len() > MAX_ENTRIES {
            let detail = format!("it holds more than {MAX_ENTRIES} files");
            return Err(SizingError::FileUnreadable { file: shown.to_owned(), detail });
        }
    }
    Ok(())
}

fn has_extension(name: &str, extensions: &[&str]) -> bool {
    let extension = Path::new(name).extension().and_then(|text| text.to_str()).unwrap_or("");
    extensions.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// Read a whole small file.
///
/// # Errors
/// [`SizingError::FileTooLarge`] beyond `limit` bytes; what [`describe`] says of the system's errors.
pub fn read_bounded(file: File, name: &str, limit: u64) -> Result<Vec<u8>> {
    let length = file.metadata().map_err(|error| describe(name, &error))?.len();
    if length > limit {
        return Err(SizingError::FileTooLarge { file: name.to_owned(), length, limit });
    }
    let mut text = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(limit).read_to_end(&mut text).map_err(|error| describe(name, &error))?;
    if text.starts_with(POINTER) {
        return Err(pointer(name));
    }
    Ok(text)
}

/// A path's last part, for messages: the directory it lies in is not everybody's business.
#[must_use]
pub fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
