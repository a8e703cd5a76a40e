//! Pages of keys, values and states, as vLLM 0.32 lays them out.

use crate::cache::{CacheGroup, CacheKind};
use crate::math::{product, sum};
use crate::request::{Engine, KvDtype, Request};
use crate::weights::{Stage, stages};
use crate::{Checkpoint, Result, SizingError};

const WHAT: &str = "the KV cache";
/// Batches that may be under way at once with asynchronous scheduling.
const ASYNC_BATCHES: u64 = 2;

/// Tokens of a page where the request does not say.
#[must_use]
pub const fn block_size(request: &Request) -> u64 {
    match (request.block_size, request.engine) {
        (Some(size), _) => size,
        (None, Engine::LlamaCpp) => 256,
        (None, Engine::Sglang) => 1,
        (None, _) => 16,
    }
}

/// Tokens that a step computes at most where the request does not say.
#[must_use]
pub const fn batched_tokens(request: &Request) -> u64 {
    match (request.max_batched_tokens, request.engine) {
        (Some(tokens), _) => tokens,
        (None, Engine::LlamaCpp) => 512,
        (None, _) => 8_192,
    }
}

/// Bytes of elements in a cache's dtype, rounded up.
fn in_dtype(elements: u64, dtype: KvDtype, activation_bytes: u64) -> Result<u64> {
    let scaled = u128::from(elements).saturating_mul(u128::from(dtype.bytes_of_32(activation_bytes))).div_ceil(32);
    u64::try_from(scaled).map_err(|_| SizingError::Overflow { what: WHAT })
}

/// Bytes of one page of one layer on one rank, `size` tokens each.
///
/// # Errors
/// [`SizingError::Overflow`].
pub fn page_bytes(kind: &CacheKind, size: u64, request: &Request, element: u64) -> Result<u64> {
    let ranks = request.tensor_parallel;
    if let CacheKind::State { kernel, matrix, .. } = *kind {
        let (channels, matrix) = (kind.channels(ranks)?, matrix.div_ceil(ranks));
        let bytes = if request.engine == Engine::LlamaCpp { 4 } else { element };
        let inputs = product(WHAT, &[channels, kernel.saturating_sub(1)])?;
        return product(WHAT, &[sum(WHAT, &[inputs, matrix])?, bytes]);
    }
    let elements = product(WHAT, &[size, kind.token_elements(ranks)?])?;
    let scales =
        if request.kv_dtype == KvDtype::PerTokenHead { product(WHAT, &[2, size, kind.heads(ranks), 4])? } else { 0 };
    sum(WHAT, &[in_dtype(elements, request.kv_dtype, element)?, scales])
}

/// Tokens of a page of attention. Where layers that attend stand beside states, vLLM raises it by whole blocks until such a page
/// is not smaller than a state (`Platform._align_hybrid_block_size`; every attention kernel takes blocks of 16).
fn raised_block(caches: &[CacheGroup], request: &Request, element: u64) -> Result<u64> {
    let size = block_size(request);
    if !(is_hybrid(caches) && matches!(request.engine, Engine::Vllm | Engine::Aphrodite)) {
        return Ok(size);
    }
    let [mut state, mut attention] = [0; 2];
    for group in caches {
        let largest = if group.kind.is_state() { &mut state } else { &mut attention };
        *largest = (*largest).max(page_bytes(&group.kind, size, request, element)?);
    }
    product(WHAT, &[size, state.div_ceil(attention.max(1)).max(1)])
}

/// Whether some layers keep a state and others attend.
fn is_hybrid(caches: &[CacheGroup]) -> bool {
    caches.iter().any(|group| group.kind.is_state()) && !caches.iter().all(|group| group.kind.is_state())
}

/// Pages of a state that a request holds. With prefix caching there are two, the one it has and the one it writes; without it one.
/// By default vLLM 0.32 caches prefixes of hybrid models, and not of those without attention (`is_prefix_caching_supported`).
fn state_pages(caches: &[CacheGroup]) -> u64 {
    if is_hybrid(caches) { 2 } else { 1 }
}

/// Pages of one layer with keys and values, `size` tokens each, that one request holds at most; none for states.
///
/// # Errors
/// [`SizingError::Overflow`].
pub fn pages(kind: &CacheKind, size: u64, request: &Request) -> Result<u64> {
    let (size, length) = (size.max(1), request.context_length);
    let batches = if request.pipeline_parallel > 1 { request.pipeline_parallel } else { ASYNC_BATCHES };
    let in_flight = product(WHAT, &[batches, batched_tokens(request)])?;
    Ok(match *kind {
        CacheKind::Full { .. } | CacheKind::Latent { .. } => length.div_ceil(size),
        // vLLM has no other bound of the encoder's tokens than those of one step (`SchedulerConfig.max_num_encoder_input_tokens`).
        CacheKind::Cross { .. } => match request.engine {
            Engine::Vllm | Engine::Aphrodite => batched_tokens(request).div_ceil(size),
            _ => length.div_ceil(size),
        },
        // llama.cpp keeps the window and one physical batch, in whole pages (`llama_kv_cache_iswa`).
        CacheKind::Sliding { window: tokens, .. } | CacheKind::Chunked { chunk: tokens, .. }
            if request.engine == Engine::LlamaCpp =>
        {
            sum(WHAT, &[tokens, batched_tokens(request)])?.min(length).div_ceil(size)
        }
        CacheKind::Sliding { window, .. } => {
            let seen = sum(WHAT, &[window.saturating_sub(1), in_flight])?.min(length);
            seen.div_ceil(size).saturating_add(1)
        }
        CacheKind::Chunked { chunk, .. } => sum(WHAT, &[chunk, in_flight])?.min(length).div_ceil(size),
        CacheKind::State { .. } => 0,
    })
}

/// All pages of one request: how many, of how many bytes each over the layers of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Layout {
    /// Layers that share a page; groups with fewer are filled up.
    pub layers_per_group: u64,
    /// Groups.
    pub groups: u64,
    /// Tokens of a page of keys and values.
    pub block_size: u64,
    /// Bytes of a page of one layer: the same for all kinds.
    pub page_bytes: u64,
    /// Pages that one request holds over all groups.
    pub pages: u64,
    /// Of these, pages with states.
    pub state_pages: u64,
}

impl Layout {
    /// Bytes of one request's cache.
    ///
    /// # Errors
    /// [`SizingError::Overflow`].
    pub fn request_bytes(&self) -> Result<u64> {
        product(WHAT, &[self.pages, self.page_bytes, self.layers_per_group])
    }

    /// Of these, bytes of states.
    ///
    /// # Errors
    /// [`SizingError::Overflow`].
    pub fn state_bytes(&self) -> Result<u64> {
        product(WHAT, &[self.state_pages, self.page_bytes, self.layers_per_group])
    }
}

/// Bytes of one request's keys and values, and of its states, where every layer has pages of its own size.
///
/// # Errors
/// [`SizingError::Overflow`].
pub fn own_pages(caches: &[CacheGroup], stage: Stage, request: &Request, element: u64) -> Result<[u64; 2]> {
    let size = block_size(request);
    let mut bytes = [0; 2];
    for group in caches {
        let layers = group.layers.count(stage.begin, stage.end);
        let is_state = group.kind.is_state();
        let held = if is_state { 1 } else { pages(&group.kind, size, request)? };
        let more = product(WHAT, &[layers, held, page_bytes(&group.kind, size, request, element)?])?;
        let [tokens, states] = &mut bytes;
        let sum_of = if is_state { states } else { tokens };
        *sum_of = sum(WHAT, &[*sum_of, more])?;
    }
    Ok(bytes)
}

/// Lay a stage's caches out: layers of one kind in groups of the smallest kind's count (of the largest where that is less
/// than one and a half of it), every page as large as the largest.
///
/// # Errors
/// [`SizingError::Overflow`].
pub fn layout(caches: &[CacheGroup], stage: Stage, request: &Request, element: u64) -> Result<Layout> {
    let counted = |group: &CacheGroup| group.layers.count(stage.begin, stage.end);
    let present = || caches.iter().map(|group| (group, counted(group))).filter(|(_, count)| *count > 0);
    let smallest = present().map(|(_, count)| count).min().unwrap_or(0);
    let largest = present().map(|(_, count)| count).max().unwrap_or(0);
    let alike = largest.saturating_mul(2) < smallest.saturating_mul(3);
    let block_size = raised_block(caches, request, element)?;
    let layers_per_group = if alike { largest } else { smallest };
    let mut found = Layout { layers_per_group, block_size, ..Layout::default() };
    for (group, count) in present() {
        let groups = count.div_ceil(found.layers_per_group.max(1));
        found.groups = sum(WHAT, &[found.groups, groups])?;
        found.page_bytes = found.page_bytes.max(page_bytes(&group.kind, block_size, request, element)?);
        let held = if group.kind.is_state() { state_pages(caches) } else { pages(&group.kind, block_size, request)? };
        let held = product(WHAT, &[groups, held])?;
        found.pages = sum(WHAT, &[found.pages, held])?;
        if group.kind.is_state() {
            found.state_pages = sum(WHAT, &[found.state_pages, held])?;
        }
    }
    Ok(found)
}

/// Bytes that one more token of one sequence adds on the fullest stage's ranks, while no window is full.
///
/// # Errors
/// [`SizingError::Overflow`].
pub fn bytes_per_token(checkpoint: &Checkpoint, request: &Request) -> Result<u64> {
    let element = checkpoint.element_bytes(request.dtype);
    let mut most = 0;
    for stage in stages(checkpoint.model.shape.layers, request.pipeline_parallel) {
        let mut bytes = 0;
        for group in &checkpoint.model.caches {
            if matches!(group.kind, CacheKind::Cross { .. } | CacheKind::State { .. }) {
                continue;
            }
            let layers = group.layers.count(stage.begin, stage.end);
            let token = group.kind.token_elements(request.tensor_parallel)?;
            let scales = if request.kv_dtype == KvDtype::PerTokenHead {
                product(WHAT, &[8, group.kind.heads(request.tensor_parallel)])?
            } else {
                0
            };
            let each = sum(WHAT, &[in_dtype(token, request.kv_dtype, element)?, scales])?;
            bytes = sum(WHAT, &[bytes, product(WHAT, &[layers, each])?])?;
        }
        most = most.max(bytes);
    }
    Ok(most)
}
