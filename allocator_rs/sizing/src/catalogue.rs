//! The architectures that are known, as data. Anything else is refused.

use std::fmt;

use crate::families::{FamilyRules, bert::Bert, distilbert::DistilBert, gpt2::Gpt2, llama::Llama};
use crate::{Result, SizingError};

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
    /// The rules.
    pub family: &'static dyn FamilyRules,
}

impl fmt::Debug for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Architecture").field("name", &self.name).finish_non_exhaustive()
    }
}

const fn row(
    name: &'static str,
    task: Task,
    prefix: &'static str,
    head: Head,
    family: &'static dyn FamilyRules,
) -> Architecture {
    Architecture { name, task, prefix, head, qkv_bias: false, family }
}

/// The catalogue.
pub static ARCHITECTURES: [Architecture; 12] = [
    row("BertModel", Task::Embedding, "bert.", Head::Pooler, &Bert { padding_offset: false }),
    row(
        "BertForSequenceClassification",
        Task::Classification,
        "bert.",
        Head::PooledClassifier,
        &Bert { padding_offset: false },
    ),
    row("RobertaModel", Task::Embedding, "roberta.", Head::Pooler, &Bert { padding_offset: true }),
    row(
        "RobertaForSequenceClassification",
        Task::Classification,
        "roberta.",
        Head::DenseClassifier,
        &Bert { padding_offset: true },
    ),
    row("XLMRobertaModel", Task::Embedding, "roberta.", Head::Pooler, &Bert { padding_offset: true }),
    row(
        "XLMRobertaForSequenceClassification",
        Task::Classification,
        "roberta.",
        Head::DenseClassifier,
        &Bert { padding_offset: true },
    ),
    row("DistilBertModel", Task::Embedding, "distilbert.", Head::Bare, &DistilBert),
    row("DistilBertForSequenceClassification", Task::Classification, "distilbert.", Head::PreClassifier, &DistilBert),
    row("LlamaForCausalLM", Task::Generation, "model.", Head::LanguageModel, &Llama),
    row("MistralForCausalLM", Task::Generation, "model.", Head::LanguageModel, &Llama),
    Architecture {
        name: "Qwen2ForCausalLM",
        task: Task::Generation,
        prefix: "model.",
        head: Head::LanguageModel,
        qkv_bias: true,
        family: &Llama,
    },
    row("GPT2LMHeadModel", Task::Generation, "transformer.", Head::LanguageModel, &Gpt2),
];

/// Look an architecture up by the config's class name.
///
/// # Errors
/// [`SizingError::ArchitectureUnknown`], with the names that are known.
pub fn find(name: &str) -> Result<&'static Architecture> {
    ARCHITECTURES.iter().find(|known| known.name == name).ok_or_else(|| SizingError::ArchitectureUnknown {
        name: name.chars().take(80).collect(),
        accepted: ARCHITECTURES.iter().map(|known| known.name).collect::<Vec<_>>().join(", "),
    })
}
