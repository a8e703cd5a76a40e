//! Engines with a paged cache: vLLM and Aphrodite, and, without any claim of accuracy, `SGLang` and llama.cpp.

use super::pages::{batched_tokens, block_size, layout, own_pages};
use crate::catalogue::Task;
use crate::constants::{Bound, base};
use crate::ledger::{Detail, Ledger};
use crate::math::{product, sum};
use crate::request::{Engine, KvDtype, Request};
use crate::weights::{Stage, percent, rank_tally};
use crate::{Checkpoint, Result, SizingError, WeightDtype, weights};

/// The driver's context and lazily loaded modules. Published figures run from 250 to 551 MB; ours were not measured.
const CONTEXT_BYTES: u64 = 512 * 1024 * 1024;
const CONTEXT_UPPER_BYTES: u64 = 768 * 1024 * 1024;
/// Captured graphs, and workspaces of matrix libraries (32 MiB a handle and stream from compute capability 9).
const GRAPH_BYTES: u64 = 512 * 1024 * 1024;
const GRAPH_UPPER_BYTES: u64 = 1536 * 1024 * 1024;
const WORKSPACE_BYTES: u64 = 32 * 1024 * 1024;
/// No formula of this profile was compared with a run.
const MARGIN_PERCENT: u64 = 30;

/// Write one rank's components down.
pub(crate) fn itemise<L: Ledger>(
    checkpoint: &Checkpoint,
    request: &Request,
    stage: Stage,
    ledger: &mut L,
) -> Result<()> {
    if !checkpoint.holds(request.dtype) {
        check_dtype(request)?;
    }
    let element = checkpoint.element_bytes(request.dtype);
    let tally = if checkpoint.model.rules.is_empty() {
        // What a config ties is one to these engines, whatever the files hold.
        let mut tally = checkpoint.tally;
        tally.parameters = tally.parameters.saturating_sub(checkpoint.separate_head);
        tally.embedding = tally.embedding.saturating_sub(checkpoint.separate_head);
        tally
    } else {
        rank_tally(&checkpoint.model, request, stage)?
    };
    // llama.cpp maps the file: vectors that are in FP32 beside matrices in 16 bit stay so.
    let mapped =
        request.engine == Engine::LlamaCpp && checkpoint.has_weights && request.dtype == checkpoint.stored_dtype;
    if checkpoint.holds(request.dtype) || mapped {
        stored_weights(checkpoint, request, stage, ledger)?;
    } else {
        weights::add(ledger, checkpoint, request.dtype, &tally, true)?;
    }
    adapters(request, tally.lora_width, element, ledger)?;
    cache(checkpoint, request, stage, element, ledger)?;
    activations(checkpoint, request, stage, element, ledger)?;
    constants(request, ledger)
}

/// Refuse a format that nothing is converted to.
pub(crate) fn refuse_packed(request: &Request) -> Result<()> {
    if !matches!(request.dtype, WeightDtype::Packed(_)) {
        return Ok(());
    }
    let accepted = "it is taken as it is stored, and this checkpoint is stored otherwise";
    Err(SizingError::EngineDtype { engine: request.engine.name(), dtype: request.dtype.name(), accepted })
}

fn check_dtype(request: &Request) -> Result<()> {
    let gguf = matches!(request.dtype, WeightDtype::Gguf(_));
    let llama = request.engine == Engine::LlamaCpp;
    let blocks = matches!(request.kv_dtype, KvDtype::Q8 | KvDtype::Q4);
    let packed = request.dtype.is_quantised() && !gguf;
    refuse_packed(request)?;
    if (llama && packed) || (blocks && !llama) || (gguf && request.engine == Engine::Sglang) {
        let accepted = if llama {
            "it takes FP32, FP16, BF16 and the GGUF types"
        } else {
            "it takes FP32, FP16, BF16, INT8, FP8, NF4 and INT4, and keys and values in 8 bit"
        };
        return Err(SizingError::EngineDtype { engine: request.engine.name(), dtype: request.dtype.name(), accepted });
    }
    Ok(())
}

/// What the files state wins over every formula. Ranks and stages share it by their part of the parameters.
fn stored_weights<L: Ledger>(checkpoint: &Checkpoint, request: &Request, stage: Stage, ledger: &mut L) -> Result<()> {
    let what = "the weights";
    let (ranks, layers) = (request.tensor_parallel, checkpoint.model.shape.layers.max(1));
    let mine = stage.end.saturating_sub(stage.begin);
    let scaled = u128::from(checkpoint.held_bytes).saturating_mul(u128::from(mine));
    let share = scaled.div_ceil(u128::from(layers)).div_ceil(u128::from(ranks.max(1)));
    let bytes = u64::try_from(share).map_err(|_| SizingError::Overflow { what })?;
    let split = ranks > 1 || mine < layers;
    let upper = if split { sum(what, &[bytes, percent(bytes, 15)?])? } else { bytes };
    ledger.add("weights", bytes, upper, || {
        let numbers = [("stored", checkpoint.held_bytes), ("ranks", ranks), ("layers", mine), ("all_layers", layers)];
        let source = if checkpoint.has_weights { "the files' headers" } else { "config.json, by the format's layout" };
        let formula = if split { "stored*layers/all_layers/ranks" } else { "stored" };
        Detail::new(formula, &numbers, source)
    })
}

fn adapters<L: Ledger>(request: &Request, width: u64, element: u64, ledger: &mut L) -> Result<()> {
    let Some(lora) = request.lora else { return Ok(()) };
    let bytes = product("the adapters", &[lora.adapters, lora.rank, width, element])?;
    ledger.exact("lora_adapters", bytes, || {
        let numbers = [("adapters", lora.adapters), ("rank", lora.rank), ("width", width), ("e", element)];
        Detail::new(
            "adapters*rank*width*e, width = the sum of inputs and outputs of all linear layers",
            &numbers,
            "two matrices a linear layer, [in, rank] and [rank, out]; vLLM keeps max_loras slots of max_lora_rank",
        )
    })
}

fn cache<L: Ledger>(
    checkpoint: &Checkpoint,
    request: &Request,
    stage: Stage,
    element: u64,
    ledger: &mut L,
) -> Result<()> {
    if checkpoint.model.caches.is_empty() {
        return Ok(());
    }
    if request.engine == Engine::LlamaCpp {
        return own_cache(checkpoint, request, stage, element, ledger);
    }
    let found = layout(&checkpoint.model.caches, stage, request, element)?;
    let states = product("the KV cache", &[found.state_bytes()?, request.max_concurrency])?;
    let bytes = product("the KV cache", &[found.request_bytes()?, request.max_concurrency])?.saturating_sub(states);
    let only_states = checkpoint.model.caches.iter().all(|group| group.kind.is_state());
    let detail = || {
        let numbers = [
            ("sequences", request.max_concurrency),
            ("pages", found.pages.saturating_sub(found.state_pages)),
            ("state_pages", found.state_pages),
            ("page_bytes", found.page_bytes),
            ("layers_per_group", found.layers_per_group),
            ("groups", found.groups),
            ("block_size", found.block_size),
            ("batched_tokens", batched_tokens(request)),
        ];
        let source = match request.engine {
            Engine::Vllm | Engine::Aphrodite => "vLLM 0.32: pages of a request by kind of layer, groups of equal pages",
            _ => "unverified: every sequence at its full context",
        };
        (numbers, source)
    };
    if !only_states {
        ledger.exact("kv_cache", bytes, || {
            let (numbers, source) = detail();
            Detail::new("sequences*pages*page_bytes*layers_per_group", &numbers, source)
        })?;
    }
    if states == 0 {
        return Ok(());
    }
    ledger.exact("state_cache", states, || {
        let (numbers, source) = detail();
        Detail::new("sequences*state_pages*page_bytes*layers_per_group", &numbers, source)
    })
}

/// llama.cpp's cache: every layer has its own, in pages of tokens, and states beside.
fn own_cache<L: Ledger>(
    checkpoint: &Checkpoint,
    request: &Request,
    stage: Stage,
    element: u64,
    ledger: &mut L,
) -> Result<()> {
    let each = own_pages(&checkpoint.model.caches, stage, request, element)?;
    for (name, of_one) in ["kv_cache", "state_cache"].into_iter().zip(each).filter(|(_, bytes)| *bytes > 0) {
        let bytes = product("the KV cache", &[of_one, request.max_concurrency])?;
        ledger.exact(name, bytes, || {
            let numbers = [
                ("sequences", request.max_concurrency),
                ("bytes_per_sequence", of_one),
                ("page_tokens", block_size(request)),
                ("batched_tokens", batched_tokens(request)),
            ];
            let source =
                "llama.cpp: a cache a layer in pages of 256 tokens; a window and one batch where it sees no more";
            Detail::new("sequences*bytes_per_sequence", &numbers, source)
        })?;
    }
    Ok(())
}

fn activations<L: Ledger>(
    checkpoint: &Checkpoint,
    request: &Request,
    stage: Stage,
    element: u64,
    ledger: &mut L,
) -> Result<()> {
    let what = "the activations";
    let shape = &checkpoint.model.shape;
    let (tokens, ranks) = (batched_tokens(request), request.tensor_parallel);
    let inner = shape.intermediate.div_ceil(ranks);
    let many = checkpoint.model.experts_per_token.max(1);
    let width = sum(what, &[product(what, &[4, shape.hidden])?, product(what, &[3, inner, many])?])?;
    let forward = product(what, &[tokens, element, width])?;
    let generates = checkpoint.task == Task::Generation && stage.last;
    let logits = if generates {
        product(what, &[request.max_concurrency, shape.vocabulary, sum(what, &[element, 4])?])?
    } else {
        0
    };
    let bytes = forward.max(logits);
    ledger.add("activations", bytes, sum(what, &[bytes, percent(bytes, MARGIN_PERCENT)?])?, || {
        let numbers = [
            ("tokens", tokens),
            ("e", element),
            ("hidden", shape.hidden),
            ("intermediate_of_rank", inner),
            ("experts_per_token", many),
            ("sequences", request.max_concurrency),
            ("vocabulary", shape.vocabulary),
        ];
        let formula =
            "max(tokens*e*(4*hidden + 3*intermediate_of_rank*experts_per_token), sequences*vocabulary*(e + 4))";
        Detail::new(formula, &numbers, "unverified")
    })
}

/// What the engine's processes take whatever the model: as measured where it was, else constants of a device.
fn constants<L: Ledger>(request: &Request, ledger: &mut L) -> Result<()> {
    let measured = &request.constants.serving;
    if measured.effective_count > 0.0 {
        let Bound { bytes, upper_bytes } = base(measured);
        return ledger.add("engine_processes", bytes, upper_bytes, || {
            Detail::new("a constant of the engine's build", &[], "fitted to processes of this build on this device")
        });
    }
    ledger.add("device_context", CONTEXT_BYTES, CONTEXT_UPPER_BYTES, || {
        Detail::new("a constant of the device", &[], "unverified: published figures run from 250 to 551 MB")
    })?;
    ledger.exact("workspace", WORKSPACE_BYTES, || {
        Detail::new("32 MiB a handle and stream", &[], "cuBLAS from compute capability 9; 8,519,680 B below")
    })?;
    if request.engine == Engine::LlamaCpp {
        return Ok(());
    }
    ledger.add("cuda_graphs", GRAPH_BYTES, GRAPH_UPPER_BYTES, || {
        Detail::new("a constant of the engine", &[], "unverified: not measured; 0 with eager execution")
    })
}
