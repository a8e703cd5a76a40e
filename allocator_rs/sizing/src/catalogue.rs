//! The architectures that are known, as data. Anything else is refused.

use crate::families::decoder::Decoder;
use crate::families::encoder::Encoder;
use crate::families::foreign::Foreign;
use crate::families::multimodal::Multimodal;
use crate::families::opt::Opt;
use crate::families::recurrent::Recurrent;
use crate::families::seq2seq::{Bart, T5};
use crate::families::style;
use crate::families::towers::Tower;
use crate::families::{bert::Bert, distilbert::DistilBert, gpt2::Gpt2, llama::Llama};
use crate::{Result, SizingError};

pub use crate::architecture::{Architecture, FamilyRules, Head, Task, task_of};

const fn row(
    name: &'static str,
    task: Task,
    prefix: &'static str,
    head: Head,
    family: &'static dyn FamilyRules,
) -> Architecture {
    Architecture { name, task, prefix, head, qkv_bias: false, served: true, family }
}

/// What the embedded engine serves.
pub static SERVED: [Architecture; 15] = [
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
        served: true,
        family: &Llama,
    },
    row("GPT2LMHeadModel", Task::Generation, "transformer.", Head::LanguageModel, &Gpt2),
    row("Qwen3ForCausalLM", Task::Generation, "model.", Head::LanguageModel, &Decoder(&style::QWEN_3)),
    row("Gemma2ForCausalLM", Task::Generation, "model.", Head::LanguageModel, &Decoder(&style::GEMMA_2)),
    row("MixtralForCausalLM", Task::Generation, "model.", Head::LanguageModel, &Decoder(&style::MIXTRAL)),
];

/// A row that is sized and not served.
const fn sized(name: &'static str, task: Task, head: Head, family: &'static dyn FamilyRules) -> Architecture {
    Architecture { name, task, prefix: "", head, qkv_bias: false, served: false, family }
}

const fn decoder(name: &'static str, rules: &'static Decoder) -> Architecture {
    sized(name, Task::Generation, Head::LanguageModel, rules)
}

const fn seq2seq(name: &'static str, family: &'static dyn FamilyRules) -> Architecture {
    sized(name, Task::Generation, Head::LanguageModel, family)
}

const fn embedder(name: &'static str, head: Head, family: &'static dyn FamilyRules) -> Architecture {
    sized(name, Task::Embedding, head, family)
}

const fn classifier(name: &'static str, head: Head, family: &'static dyn FamilyRules) -> Architecture {
    sized(name, Task::Classification, head, family)
}

macro_rules! decoders {
    ($($name:literal: $style:ident,)*) => { [$(decoder($name, { static RULES: Decoder = Decoder(&style::$style); &RULES })),*] };
}

/// Decoders that are a row of details each.
pub static DECODERS: [Architecture; 49] = decoders! {
    "Llama4ForCausalLM": LLAMA_4,
    "GemmaForCausalLM": GEMMA,
    "Gemma3ForCausalLM": GEMMA_3,
    "VaultGemmaForCausalLM": VAULT_GEMMA,
    "Qwen3MoeForCausalLM": QWEN_3_MOE,
    "Qwen2MoeForCausalLM": QWEN_2_MOE,
    "PhiForCausalLM": PHI,
    "Phi3ForCausalLM": PHI_3,
    "PhimoeForCausalLM": PHI_MOE,
    "CohereForCausalLM": COHERE,
    "Cohere2ForCausalLM": COHERE_2,
    "OlmoForCausalLM": OLMO,
    "Olmo2ForCausalLM": OLMO_2,
    "Olmo3ForCausalLM": OLMO_3,
    "OlmoeForCausalLM": OLMOE,
    "StableLmForCausalLM": STABLE_LM,
    "Starcoder2ForCausalLM": STARCODER_2,
    "GraniteForCausalLM": GRANITE,
    "GraniteMoeForCausalLM": GRANITE_MOE,
    "GraniteMoeSharedForCausalLM": GRANITE_MOE_SHARED,
    "GPTNeoXForCausalLM": GPT_NEOX,
    "GPTJForCausalLM": GPT_J,
    "CodeGenForCausalLM": GPT_J,
    "GPTNeoForCausalLM": GPT_NEO,
    "GPTBigCodeForCausalLM": GPT_BIGCODE,
    "BloomForCausalLM": BLOOM,
    "BioGptForCausalLM": BIOGPT,
    "XGLMForCausalLM": XGLM,
    "PersimmonForCausalLM": PERSIMMON,
    "NemotronForCausalLM": NEMOTRON,
    "FalconForCausalLM": FALCON,
    "MptForCausalLM": MPT,
    "GlmForCausalLM": GLM,
    "Glm4ForCausalLM": GLM_4,
    "Glm4MoeForCausalLM": GLM_4_MOE,
    "GptOssForCausalLM": GPT_OSS,
    "Exaone4ForCausalLM": EXAONE_4,
    "SmolLM3ForCausalLM": SMOLLM_3,
    "SeedOssForCausalLM": SEED_OSS,
    "Ernie4_5ForCausalLM": ERNIE_4_5,
    "Ernie4_5_MoeForCausalLM": ERNIE_4_5_MOE,
    "HeliumForCausalLM": HELIUM,
    "ArceeForCausalLM": ARCEE,
    "ApertusForCausalLM": APERTUS,
    "HunYuanDenseV1ForCausalLM": HUNYUAN,
    "NanoChatForCausalLM": NANOCHAT,
    "DeepseekV2ForCausalLM": DEEPSEEK_2,
    "DeepseekV3ForCausalLM": DEEPSEEK_3,
    "MiniCPM3ForCausalLM": MINICPM_3,
};

static T5_PLAIN: T5 = T5 { gated: false, bias_everywhere: false, encoder_only: false };
static T5_GATED: T5 = T5 { gated: true, ..T5_PLAIN };
static T5_ENCODER: T5 = T5 { encoder_only: true, ..T5_PLAIN };
static UMT5: T5 = T5 { bias_everywhere: true, ..T5_GATED };
static BART: Bart = Bart { position_offset: Some(2), embedding_norm: true, final_norm: false };
static MBART: Bart = Bart { final_norm: true, ..BART };
static PEGASUS: Bart = Bart { position_offset: Some(0), embedding_norm: false, final_norm: true };
static MARIAN: Bart = Bart { final_norm: false, ..PEGASUS };
static M2M_100: Bart = Bart { position_offset: None, ..PEGASUS };
static BLENDERBOT_SMALL: Bart = Bart { position_offset: Some(0), ..BART };

/// State space models, encoder-decoders and further encoders.
pub static OTHERS: [Architecture; 28] = [
    sized("OPTForCausalLM", Task::Generation, Head::LanguageModel, &Opt),
    sized("MambaForCausalLM", Task::Generation, Head::LanguageModel, &Recurrent::Mamba),
    sized("FalconMambaForCausalLM", Task::Generation, Head::LanguageModel, &Recurrent::Mamba),
    sized("Mamba2ForCausalLM", Task::Generation, Head::LanguageModel, &Recurrent::Mamba2),
    sized("JambaForCausalLM", Task::Generation, Head::LanguageModel, &Recurrent::Jamba),
    sized("BambaForCausalLM", Task::Generation, Head::LanguageModel, &Recurrent::Bamba),
    seq2seq("T5ForConditionalGeneration", &T5_PLAIN),
    seq2seq("MT5ForConditionalGeneration", &T5_GATED),
    seq2seq("UMT5ForConditionalGeneration", &UMT5),
    embedder("T5EncoderModel", Head::Bare, &T5_ENCODER),
    seq2seq("BartForConditionalGeneration", &BART),
    seq2seq("PLBartForConditionalGeneration", &BART),
    seq2seq("MBartForConditionalGeneration", &MBART),
    seq2seq("PegasusForConditionalGeneration", &PEGASUS),
    seq2seq("BlenderbotForConditionalGeneration", &PEGASUS),
    seq2seq("BlenderbotSmallForConditionalGeneration", &BLENDERBOT_SMALL),
    seq2seq("MarianMTModel", &MARIAN),
    seq2seq("M2M100ForConditionalGeneration", &M2M_100),
    embedder("ElectraModel", Head::Bare, &Encoder::Electra),
    classifier("ElectraForSequenceClassification", Head::DenseClassifier, &Encoder::Electra),
    embedder("AlbertModel", Head::Pooler, &Encoder::Albert),
    classifier("AlbertForSequenceClassification", Head::PooledClassifier, &Encoder::Albert),
    embedder("MPNetModel", Head::Pooler, &Encoder::Mpnet),
    classifier("MPNetForSequenceClassification", Head::DenseClassifier, &Encoder::Mpnet),
    embedder("ModernBertModel", Head::Bare, &Encoder::ModernBert),
    classifier("ModernBertForSequenceClassification", Head::DenseClassifier, &Encoder::ModernBert),
    embedder("NomicBertModel", Head::Bare, &Encoder::Nomic),
    classifier("CamembertForSequenceClassification", Head::DenseClassifier, &Bert { padding_offset: true }),
];

macro_rules! wrappers {
    ($($name:literal: $open:literal, $text:literal, $tied:literal, $tower:ident;)*) => { [$(sized($name, Task::Generation, Head::LanguageModel, {
        static RULES: Multimodal = Multimodal { text: $text, open: $open, tied: $tied, tower: Tower::$tower, find: find_any };
        &RULES
    })),*] };
}

/// A text model of the catalogue beside a vision tower: whether its `model_type` is as its config says, the one by default,
/// whether its embeddings are tied unless it says so, its tower.
pub static WRAPPERS: [Architecture; 10] = wrappers! {
    "Qwen2VLForConditionalGeneration": false, "qwen2_vl_text", false, Qwen2;
    "Qwen2_5_VLForConditionalGeneration": false, "qwen2_5_vl_text", false, Qwen2_5;
    "Qwen3VLForConditionalGeneration": false, "qwen3_vl_text", false, Qwen3;
    "Qwen3VLMoeForConditionalGeneration": false, "qwen3_vl_moe_text", false, Qwen3;
    "Llama4ForConditionalGeneration": false, "llama4_text", false, Llama4;
    "Gemma3ForConditionalGeneration": false, "gemma3_text", true, Gemma3;
    "PaliGemmaForConditionalGeneration": true, "gemma", true, PaliGemma;
    "Mistral3ForConditionalGeneration": true, "mistral", false, Mistral3;
    "LlavaForConditionalGeneration": true, "llama", false, Llava;
    "Idefics3ForConditionalGeneration": true, "llama", false, Idefics3;
};

/// Whatever the catalogue does not have: sized by its tensors.
pub static FOREIGN: Architecture = sized("", Task::Generation, Head::LanguageModel, &Foreign);

/// All rows.
pub fn all() -> impl Iterator<Item = &'static Architecture> {
    SERVED.iter().chain(&DECODERS).chain(&OTHERS).chain(&WRAPPERS)
}

/// Look an architecture that is served up by the config's class name.
///
/// # Errors
/// [`SizingError::ArchitectureUnknown`], with the names that are served.
pub fn find(name: &str) -> Result<&'static Architecture> {
    SERVED.iter().find(|known| known.name == name).ok_or_else(|| unknown(name, SERVED.iter()))
}

/// Look any architecture of the catalogue up.
///
/// # Errors
/// [`SizingError::ArchitectureUnknown`], with the names that are known.
pub fn find_any(name: &str) -> Result<&'static Architecture> {
    all().find(|known| known.name == name).ok_or_else(|| unknown(name, all()))
}

/// Names of the catalogue that an unknown one is told.
const NEAREST: usize = 3;

fn unknown(name: &str, known: impl Iterator<Item = &'static Architecture>) -> SizingError {
    let name: String = name.chars().take(80).collect();
    let mut names: Vec<_> = known.map(|known| (distance(&name, known.name), known.name)).collect();
    names.sort_unstable();
    SizingError::ArchitectureUnknown {
        known: names.len(),
        nearest: names.iter().take(NEAREST).map(|(_, name)| *name).collect::<Vec<_>>().join(", "),
        name,
    }
}

/// Letters that must be changed, put in or left out to make one name of another (Levenshtein), whatever their case.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.to_lowercase().chars().enumerate() {
        let mut diagonal = at;
        let mut left = at.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (slot, expected) in row.iter_mut().skip(1).zip(&other) {
            let changed = diagonal.saturating_add(usize::from(letter != *expected));
            diagonal = *slot;
            left = changed.min(left.saturating_add(1)).min(diagonal.saturating_add(1));
            *slot = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{distance, find_any};

    #[test]
    fn the_nearest_names_are_told_and_not_all() {
        assert_eq!((distance("kitten", "Sitting"), distance("", "abc"), distance("abc", "")), (3, 3, 3));
        let Err(error) = find_any("Qwen4ForCausalLM") else { panic!("it is not in the catalogue") };
        let text = error.to_string();
        assert!(text.contains("Qwen3ForCausalLM") && text.contains("Qwen2ForCausalLM"), "{text}");
        assert!(!text.contains("BertModel") && text.len() < 250, "{text}");
    }
}
