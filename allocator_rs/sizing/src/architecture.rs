//! What is known of an architecture, and what its family has to know: each names the other.

use std::borrow::Cow;
use std::fmt;

use crate::Result;
use crate::component::Workload;
use crate::config::Fields;
use crate::model::{Model, Rule};
use crate::steps::Peak;

/// What a model is served for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// Text to one vector.
    Embedding,
    /// Text to one score a label.
    Classification,
    /// Text to more text.
    Generation,
}

impl Task {
    /// The API's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedding => "EMBEDDING",
            Self::Classification => "CLASSIFICATION",
            Self::Generation => "GENERATION",
        }
    }
}

/// What stands on top of the base model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Head {
    /// A pooler that nothing served depends on.
    Pooler,
    /// A pooler and one linear layer.
    PooledClassifier,
    /// A dense layer and a projection.
    DenseClassifier,
    /// A dense layer beside the base model and one linear layer.
    PreClassifier,
    /// Nothing.
    Bare,
    /// An output embedding.
    LanguageModel,
}

/// One architecture.
pub struct Architecture {
    /// The class name in `config.json`.
    pub name: &'static str,
    /// What it is served for.
    pub task: Task,
    /// Prefix of the base model's tensors; files may leave it out.
    pub prefix: &'static str,
    /// Head.
    pub head: Head,
    /// Whether queries, keys and values have biases whatever the config says (Qwen2).
    pub qkv_bias: bool,
    /// Whether the embedded engine serves it; the others are sized for planning.
    pub served: bool,
    /// The rules.
    pub family: &'static dyn FamilyRules,
}

impl fmt::Debug for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Architecture").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a family knows. Implementations are data: they hold no state of a model.
pub trait FamilyRules: Sync {
    /// Read the config's fields and give the model's dimensions and parameters.
    ///
    /// # Errors
    /// What [`Fields`] says of missing, invalid and unsupported fields.
    fn build(&self, architecture: &Architecture, fields: &Fields) -> Result<Model>;

    /// The largest sum of temporary tensors during one forward pass, without what is kept (the KV cache).
    ///
    /// # Errors
    /// [`crate::SizingError::Overflow`].
    fn activations(&self, model: &Model, workload: &Workload) -> Result<Activations>;

    /// Whether a tensor is a buffer that older versions stored: no parameter, and not worth a word.
    fn is_buffer(&self, tensor: &str) -> bool {
        tensor.ends_with("rotary_emb.inv_freq")
    }

    /// Whether a tensor belongs to a head of another task, or is a second copy of a tied one: left out, and said so.
    fn is_unused(&self, _tensor: &str) -> bool {
        false
    }

    /// The tensor in which files keep a parameter, or one of several that it is put together of: the one of this number,
    /// its layer to be filled in; None where the parameter has its own name in files, and behind the last part.
    fn part(&self, _rule: &Rule, _number: u64) -> Option<Rule> {
        None
    }

    /// Name of the input embedding without prefix: tells whether files carry the prefix. None where the rules' names are
    /// not the files': then files are compared by their sums alone.
    fn anchor(&self) -> Option<&'static str> {
        None
    }

    /// The config that the usual fields are read of where these rules fail and files tell the size: of wrappers, whose
    /// configs leave the text model or the tower out. None: what failed is the answer.
    fn for_files(&self, _fields: &Fields) -> Option<Fields> {
        None
    }
}

/// A peak of temporary memory. `verified`: equal to the byte with the allocator's events where this term is the largest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activations {
    /// Bytes.
    pub bytes: u64,
    /// The most it can be on a machine with the workload's instruction set.
    pub upper_bytes: u64,
    /// The term that is the largest.
    pub formula: Cow<'static, str>,
    /// The formula's numbers.
    pub inputs: Vec<(&'static str, u64)>,
    /// Whether the formula was compared with measurements.
    pub verified: bool,
    /// Whether it is a whole step's: with the logits, and with the copies that quantised layers make.
    pub whole: bool,
    /// What the matrix library keeps of packed matrices, where a step was followed, expected and at most; 0 elsewhere.
    pub packed_bytes: [u64; 2],
    /// The most it can be, where that depends on what is computed; None: it does not.
    pub worst_bytes: Option<u64>,
}

impl From<Peak> for Activations {
    fn from(peak: Peak) -> Self {
        Self {
            bytes: peak.bytes,
            upper_bytes: peak.upper_bytes,
            formula: peak.formula,
            inputs: peak.inputs,
            verified: true,
            whole: true,
            packed_bytes: peak.packed_bytes,
            worst_bytes: None,
        }
    }
}

/// What a class of this name is served for.
#[must_use]
pub fn task_of(name: &str) -> Task {
    if name.contains("Classification") {
        Task::Classification
    } else if ["ForCausalLM", "LMHeadModel", "ConditionalGeneration"].iter().any(|end| name.contains(end)) {
        Task::Generation
    } else {
        Task::Embedding
    }
}
