//! What is asked: an engine, a workload, a split.

use crate::{Constants, CpuIsa, Result, SizingError, WeightDtype};

/// No engine computes more sequences at once.
pub const MAX_CONCURRENCY: u64 = 65_536;
/// No group of ranks is larger.
const MAX_RANKS: u64 = 4_096;
/// Most threads of one inference.
const MAX_THREADS: u64 = 1_024;

/// Whose memory is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// transformers on torch, in the embedded engine's process.
    Torch,
    /// vLLM, whose pages and whose rule of utilisation Aphrodite shares.
    Vllm,
    /// Aphrodite.
    Aphrodite,
    /// `SGLang`.
    Sglang,
    /// llama.cpp.
    LlamaCpp,
}

impl Engine {
    /// All, with their names.
    pub const ALL: [(&'static str, Self); 5] = [
        ("torch", Self::Torch),
        ("vllm", Self::Vllm),
        ("aphrodite", Self::Aphrodite),
        ("sglang", Self::Sglang),
        ("llama.cpp", Self::LlamaCpp),
    ];

    /// Read a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, engine)| engine)
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, engine)| *engine == self).map_or("", |(name, _)| name)
    }

    /// Dtypes with fewer bytes a weight that the engine makes of weights in `dtype` while it loads them, the largest first. FP16 and
    /// BF16 are the same size; BF16 has FP32's range. llama.cpp takes a GGUF file as it is, and nobody repacks what is packed.
    #[must_use]
    pub const fn smaller_dtypes(self, dtype: WeightDtype) -> &'static [WeightDtype] {
        match (self, dtype) {
            (Self::Torch, WeightDtype::Fp32) => &[WeightDtype::Bf16, WeightDtype::Int8],
            (Self::Torch, WeightDtype::Bf16 | WeightDtype::Fp16) => &[WeightDtype::Int8],
            (Self::Vllm | Self::Aphrodite | Self::Sglang, WeightDtype::Fp32) => &[WeightDtype::Bf16, WeightDtype::Fp8],
            (Self::Vllm | Self::Aphrodite | Self::Sglang, WeightDtype::Bf16 | WeightDtype::Fp16) => &[WeightDtype::Fp8],
            _ => &[],
        }
    }
}

/// The dtype of keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KvDtype {
    /// As the activations.
    Auto,
    /// 32-bit floats.
    Fp32,
    /// 16 bit.
    Half,
    /// 8-bit floats, one scale a layer.
    Fp8,
    /// 8 bit with one fp32 scale a token and head.
    PerTokenHead,
    /// llama.cpp's `Q8_0`: 34 bytes for 32 values.
    Q8,
    /// llama.cpp's `Q4_0`: 18 bytes for 32 values.
    Q4,
}

impl KvDtype {
    const NAMES: [(&'static str, Self); 9] = [
        ("AUTO", Self::Auto),
        ("FP32", Self::Fp32),
        ("FP16", Self::Half),
        ("BF16", Self::Half),
        ("FP8", Self::Fp8),
        ("INT8_PER_TOKEN_HEAD", Self::PerTokenHead),
        ("FP8_PER_TOKEN_HEAD", Self::PerTokenHead),
        ("Q8_0", Self::Q8),
        ("Q4_0", Self::Q4),
    ];

    /// Read a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, dtype)| dtype)
    }

    /// Bytes of 32 elements; `activation_bytes` decides it for [`KvDtype::Auto`].
    #[must_use]
    pub const fn bytes_of_32(self, activation_bytes: u64) -> u64 {
        match self {
            Self::Auto => activation_bytes.saturating_mul(32),
            Self::Fp32 => 128,
            Self::Half => 64,
            Self::Fp8 | Self::PerTokenHead => 32,
            Self::Q8 => 34,
            Self::Q4 => 18,
        }
    }
}

/// Adapters that are kept beside the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lora {
    /// Adapters at once.
    pub adapters: u64,
    /// Rank of each.
    pub rank: u64,
}

/// One question. None asks for the engine's own default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// Engine.
    pub engine: Engine,
    /// Weights.
    pub dtype: WeightDtype,
    /// Keys and values.
    pub kv_dtype: KvDtype,
    /// Longest sequence in tokens.
    pub context_length: u64,
    /// Sequences at once.
    pub max_concurrency: u64,
    /// Ranks that share each layer.
    pub tensor_parallel: u64,
    /// Stages that share out the layers.
    pub pipeline_parallel: u64,
    /// Tokens of a page of the cache.
    pub block_size: Option<u64>,
    /// Tokens that one step computes at most.
    pub max_batched_tokens: Option<u64>,
    /// Adapters.
    pub lora: Option<Lora>,
    /// What the embedded engine's process needs beyond the formulas.
    pub constants: Constants,
    /// What the matrix library of the embedded engine computes with.
    pub cpu_isa: CpuIsa,
    /// Threads of one inference in the embedded engine.
    pub threads: u64,
}

impl Request {
    /// The embedded engine, nothing split.
    #[must_use]
    pub fn torch(dtype: WeightDtype, context_length: u64, max_concurrency: u64) -> Self {
        Self {
            engine: Engine::Torch,
            dtype,
            kv_dtype: KvDtype::Auto,
            context_length,
            max_concurrency,
            tensor_parallel: 1,
            pipeline_parallel: 1,
            block_size: None,
            max_batched_tokens: None,
            lora: None,
            constants: Constants::default(),
            cpu_isa: CpuIsa::default(),
            threads: 1,
        }
    }

    /// Check all numbers against their limits; `limit` is the model's longest context.
    ///
    /// # Errors
    /// [`SizingError::ContextInvalid`], [`SizingError::ConcurrencyInvalid`], [`SizingError::SplitInvalid`],
    /// [`SizingError::OptionInvalid`].
    pub fn check(&self, limit: u64) -> Result<()> {
        let context_length = self.context_length;
        if !(1..=limit).contains(&context_length) {
            return Err(SizingError::ContextInvalid { context_length, limit });
        }
        let max_concurrency = self.max_concurrency;
        if !(1..=MAX_CONCURRENCY).contains(&max_concurrency) {
            return Err(SizingError::ConcurrencyInvalid { max_concurrency, limit: MAX_CONCURRENCY });
        }
        for (what, value) in [("tensor_parallel", self.tensor_parallel), ("pipeline_parallel", self.pipeline_parallel)]
        {
            if !(1..=MAX_RANKS).contains(&value) {
                return Err(SizingError::SplitInvalid { what, value, detail: "it must be 1 to 4096" });
            }
            if value > 1 && self.engine == Engine::Torch {
                return Err(SizingError::SplitInvalid { what, value, detail: "the torch engine serves on one device" });
            }
        }
        let ranks = self.tensor_parallel.saturating_mul(self.pipeline_parallel);
        if ranks > MAX_RANKS {
            let what = "tensor_parallel times pipeline_parallel";
            return Err(SizingError::SplitInvalid { what, value: ranks, detail: "it must be at most 4096" });
        }
        let options = [
            ("threads", Some(self.threads), MAX_THREADS),
            ("block_size", self.block_size, 1 << 20),
            ("max_batched_tokens", self.max_batched_tokens, 1 << 31),
            ("lora adapters", self.lora.map(|lora| lora.adapters), 1 << 16),
            ("lora rank", self.lora.map(|lora| lora.rank), 1 << 16),
        ];
        for (option, value, most) in options {
            if let Some(value) = value
                && !(1..=most).contains(&value)
            {
                return Err(SizingError::OptionInvalid { option, value, limit: most });
            }
        }
        Ok(())
    }
}
