//! Pages of kinds that no architecture of the catalogue has, and shares of ranks.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "tests fail by panicking")]

use sizing::cache::{CacheGroup, CacheKind};
use sizing::engines::pages::{Layout, layout};
use sizing::model::Layers;
use sizing::weights::Stage;
use sizing::{Engine, Request, WeightDtype};

/// Llama-4 Scout's text layers, three of four with chunks of 8,192: what vLLM 0.32's `get_kv_cache_groups` lays out for a
/// `ChunkedLocalAttentionSpec` and a `FullAttentionSpec` of these widths, 32k of context and batches of 2,048, on one and two ranks.
#[test]
fn chunks_take_pages_of_what_is_in_flight() {
    let (heads, key_dim, value_dim) = (8, 128, 128);
    let marks = |full: bool| Layers::Marked((0..48).map(|layer| (layer % 4 == 3) == full).collect());
    let caches = [
        CacheGroup { kind: CacheKind::Chunked { heads, key_dim, value_dim, chunk: 8_192 }, layers: marks(false) },
        CacheGroup { kind: CacheKind::Full { heads, key_dim, value_dim }, layers: marks(true) },
    ];
    for (ranks, page_bytes) in [(1, 65_536), (2, 32_768)] {
        let request = Request {
            engine: Engine::Vllm,
            tensor_parallel: ranks,
            max_batched_tokens: Some(2_048),
            ..Request::torch(WeightDtype::Bf16, 32_768, 1)
        };
        let stage = Stage { begin: 0, end: 48, first: true, last: true };
        let expected =
            Layout { layers_per_group: 12, groups: 4, block_size: 16, page_bytes, pages: 4_352, state_pages: 0 };
        assert_eq!(layout(&caches, stage, &request, 2).unwrap(), expected);
    }
}

/// Ranks share a state's own channels and its groups; groups that they do not divide are repeated, one a rank.
#[test]
fn groups_of_a_state_are_repeated() {
    let state = |groups| CacheKind::State {
        channels: 8_192 + groups * 256,
        kernel: 4,
        matrix: 8_192 * 128,
        groups,
        group_channels: 256,
    };
    let shares =
        [(1, 1, 8_192 + 256), (1, 2, 4_096 + 256), (8, 2, 4_096 + 4 * 256), (8, 8, 1_024 + 256), (0, 4, 2_048)];
    for (groups, ranks, channels) in shares {
        assert_eq!(state(groups).channels(ranks).unwrap(), channels, "{groups} groups, {ranks} ranks");
    }
}
