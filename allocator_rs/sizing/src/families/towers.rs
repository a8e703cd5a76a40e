//! Vision towers and the projectors behind them, as sums of parameters (transformers 5.23).

use super::divide;
use crate::config::Fields;
use crate::math::{product, sum};
use crate::{Result, SizingError};

const WHAT: &str = "a parameter's size";

/// A tower with its projector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tower {
    /// Layer norms, a plain MLP of `embed_dim * mlp_ratio`, a merger of four patches.
    Qwen2,
    /// RMS norms and a gated MLP.
    Qwen2_5,
    /// A position table, and mergers beside for the first layers of the text model.
    Qwen3,
    /// Pixel shuffle and an adapter.
    Llama4,
    /// `SigLIP` and one matrix behind a norm.
    Gemma3,
    /// Any tower by its `model_type`, and two linear layers behind a merger of patches and a norm.
    Mistral3,
    /// Any tower, and two linear layers.
    Llava,
    /// Any tower, and one linear layer.
    PaliGemma,
    /// `SigLIP` without a head, and one linear layer over shuffled pixels.
    Idefics3,
}

/// Name and elements of a part.
pub type Part = (&'static str, u64);

/// A sum of products of widths.
fn total(products: &[&[u64]]) -> Result<u64> {
    products.iter().try_fold(0, |whole, factors| sum(WHAT, &[whole, product(WHAT, factors)?]))
}

impl Tower {
    /// The parts that stand beside a text model of width `hidden`.
    ///
    /// # Errors
    /// What [`Fields`] says of missing and invalid fields.
    pub fn parts(self, whole: &Fields, hidden: u64) -> Result<Vec<Part>> {
        let vision = whole.nested("vision_config")?.ok_or(SizingError::FieldMissing { field: "vision_config" })?;
        let named = |tower, projector| vec![("visual.blocks.0", tower), ("multi_modal_projector.linear_1", projector)];
        Ok(match self {
            Self::Qwen2 => vec![("visual.blocks.0", qwen_2(&vision)?)],
            Self::Qwen2_5 => vec![("visual.blocks.0", qwen_2_5(&vision)?)],
            Self::Qwen3 => vec![("visual.blocks.0", qwen_3(&vision)?)],
            Self::Llama4 => named(llama_4(&vision)?, total(&[&[width(&vision, "vision_output_dim", 7_680)?, hidden]])?),
            Self::Gemma3 => {
                let width = width(&vision, "hidden_size", 768)?;
                named(siglip(&vision)?, total(&[&[width, hidden], &[width]])?)
            }
            Self::Mistral3 => named(any(&vision)?, mistral_3(whole, &vision, hidden)?),
            Self::Llava => named(any(&vision)?, llava(whole, &vision, hidden)?),
            Self::PaliGemma => {
                let width = width(&vision, "hidden_size", 768)?;
                let output = whole.count("projection_dim", Some(vision.count("projection_dim", Some(hidden))?))?;
                named(siglip(&vision)?, total(&[&[width, output], &[output]])?)
            }
            Self::Idefics3 => {
                let factor = whole.count("scale_factor", Some(2))?;
                let width = vision.count("hidden_size", Some(1_152))?;
                named(siglip_body(&vision)?, total(&[&[width, factor, factor, hidden]])?)
            }
        })
    }
}

fn width(fields: &Fields, field: &'static str, default: u64) -> Result<u64> {
    fields.count(field, Some(default))
}

/// Elements of a convolution's kernel over patches, whose sides may be written as a list.
fn patch(vision: &Fields, channels: &'static str, hidden: u64, default_side: u64) -> Result<u64> {
    let side = width(vision, "patch_size", default_side)?;
    product(WHAT, &[width(vision, channels, 3)?, side, side, hidden])
}

/// Patches of a square picture.
fn patches(vision: &Fields, image: u64, side: u64) -> Result<u64> {
    let across = width(vision, "image_size", image)?.checked_div(width(vision, "patch_size", side)?).unwrap_or(0);
    product(WHAT, &[across, across])
}

fn any(vision: &Fields) -> Result<u64> {
    match vision.text("model_type")? {
        Some("siglip_vision_model") => siglip(vision),
        Some("pixtral") => pixtral(vision),
        Some("clip_vision_model") | None => clip(vision),
        Some(other) => Err(SizingError::FeatureUnsupported {
            field: "vision_config.model_type",
            value: other.chars().take(60).collect(),
        }),
    }
}

/// Attention and an MLP of two layers, all with biases, and two layer norms.
fn plain_layer(hidden: u64, inner: u64) -> Result<u64> {
    total(&[&[4, hidden, hidden], &[4, hidden], &[2, hidden, inner], &[hidden], &[inner], &[4, hidden]])
}

fn siglip_body(vision: &Fields) -> Result<u64> {
    let (hidden, inner) = (width(vision, "hidden_size", 768)?, width(vision, "intermediate_size", 3_072)?);
    let table = product(WHAT, &[patches(vision, 224, 16)?, hidden])?;
    let kernel = patch(vision, "num_channels", hidden, 16)?;
    let layers = product(WHAT, &[width(vision, "num_hidden_layers", 12)?, plain_layer(hidden, inner)?])?;
    total(&[&[kernel], &[hidden], &[table], &[layers], &[2, hidden]])
}

/// With the pooling head that its config has unless it says otherwise.
fn siglip(vision: &Fields) -> Result<u64> {
    let (hidden, inner) = (width(vision, "hidden_size", 768)?, width(vision, "intermediate_size", 3_072)?);
    let body = siglip_body(vision)?;
    if !vision.flag("vision_use_head", true)? {
        return Ok(body);
    }
    let attention = total(&[&[4, hidden, hidden], &[4, hidden]])?;
    total(&[&[body], &[hidden], &[attention], &[2, hidden], &[2, hidden, inner], &[hidden], &[inner]])
}

fn clip(vision: &Fields) -> Result<u64> {
    let (hidden, inner) = (width(vision, "hidden_size", 768)?, width(vision, "intermediate_size", 3_072)?);
    let table = product(WHAT, &[patches(vision, 224, 32)?.saturating_add(1), hidden])?;
    let kernel = patch(vision, "num_channels", hidden, 32)?;
    let layers = product(WHAT, &[width(vision, "num_hidden_layers", 12)?, plain_layer(hidden, inner)?])?;
    total(&[&[kernel], &[hidden], &[table], &[layers], &[4, hidden]])
}

fn pixtral(vision: &Fields) -> Result<u64> {
    let (hidden, inner) = (width(vision, "hidden_size", 1_024)?, width(vision, "intermediate_size", 4_096)?);
    let layer = total(&[&[4, hidden, hidden], &[3, hidden, inner], &[2, hidden]])?;
    let layers = product(WHAT, &[width(vision, "num_hidden_layers", 24)?, layer])?;
    total(&[&[patch(vision, "num_channels", hidden, 16)?], &[hidden], &[layers]])
}

/// Layers of the tower whose results stand side by side.
fn feature_layers(whole: &Fields) -> u64 {
    let listed = whole.value("vision_feature_layer").and_then(serde_json::Value::as_array);
    listed.and_then(|list| u64::try_from(list.len()).ok()).unwrap_or(1).max(1)
}

fn mistral_3(whole: &Fields, vision: &Fields, hidden: u64) -> Result<u64> {
    let wide = width(vision, "hidden_size", 1_024)?;
    let merge = width(whole, "spatial_merge_size", 2)?;
    let bias = if whole.flag("multimodal_projector_bias", false)? { product(WHAT, &[2, hidden])? } else { 0 };
    let layers = feature_layers(whole);
    let merged = product(WHAT, &[wide, merge, merge])?;
    total(&[&[wide], &[merged, wide], &[wide, layers, hidden], &[hidden, hidden], &[bias]])
}

fn llava(whole: &Fields, vision: &Fields, hidden: u64) -> Result<u64> {
    let wide = width(vision, "hidden_size", 768)?;
    let bias = if whole.flag("multimodal_projector_bias", true)? { product(WHAT, &[2, hidden])? } else { 0 };
    total(&[&[wide, feature_layers(whole), hidden], &[hidden, hidden], &[bias]])
}

fn qwen_2(vision: &Fields) -> Result<u64> {
    let (hidden, output) = (width(vision, "embed_dim", 1_280)?, width(vision, "hidden_size", 3_584)?);
    let inner = product(WHAT, &[hidden, width(vision, "mlp_ratio", 4)?])?;
    let layers = product(WHAT, &[width(vision, "depth", 32)?, plain_layer(hidden, inner)?])?;
    let merge = width(vision, "spatial_merge_size", 2)?;
    let merged = product(WHAT, &[hidden, merge, merge])?;
    total(&[&[kernel_3d(vision, hidden, 14)?], &[layers], &[2, hidden], &merger(merged, output)?])
}

fn qwen_2_5(vision: &Fields) -> Result<u64> {
    let (hidden, inner) = (width(vision, "hidden_size", 3_584)?, width(vision, "intermediate_size", 3_420)?);
    let output = width(vision, "out_hidden_size", 3_584)?;
    let layer =
        total(&[&[4, hidden, hidden], &[4, hidden], &[3, hidden, inner], &[2, inner], &[hidden], &[2, hidden]])?;
    let layers = product(WHAT, &[width(vision, "depth", 32)?, layer])?;
    let merge = width(vision, "spatial_merge_size", 2)?;
    let merged = product(WHAT, &[hidden, merge, merge])?;
    total(&[&[kernel_3d(vision, hidden, 14)?], &[layers], &[hidden], &merger(merged, output)?])
}

fn qwen_3(vision: &Fields) -> Result<u64> {
    let (hidden, inner) = (width(vision, "hidden_size", 1_152)?, width(vision, "intermediate_size", 4_304)?);
    let output = width(vision, "out_hidden_size", 3_584)?;
    let layers = product(WHAT, &[width(vision, "depth", 27)?, plain_layer(hidden, inner)?])?;
    let table = product(WHAT, &[width(vision, "num_position_embeddings", 2_304)?, hidden])?;
    let merge = width(vision, "spatial_merge_size", 2)?;
    let merged = product(WHAT, &[hidden, merge, merge])?;
    let beside = match vision.numbers("deepstack_visual_indexes")?.len() {
        0 if !vision.has("deepstack_visual_indexes") => 3,
        count => u64::try_from(count).unwrap_or(u64::MAX),
    };
    let one = total(&[&[2, merged], &merger(merged, output)?])?;
    let last = total(&[&[2, hidden], &merger(merged, output)?])?;
    total(&[&[kernel_3d(vision, hidden, 16)?], &[hidden], &[table], &[layers], &[last], &[beside, one]])
}

/// Two linear layers with biases, as one product.
fn merger(merged: u64, output: u64) -> Result<[u64; 1]> {
    Ok([total(&[&[merged, merged], &[merged], &[merged, output], &[output]])?])
}

/// A kernel over patches of several pictures in time.
fn kernel_3d(vision: &Fields, hidden: u64, default_side: u64) -> Result<u64> {
    let channels = if vision.has("in_channels") { "in_channels" } else { "in_chans" };
    product(WHAT, &[patch(vision, channels, hidden, default_side)?, width(vision, "temporal_patch_size", 2)?])
}

fn llama_4(vision: &Fields) -> Result<u64> {
    let (hidden, inner) = (width(vision, "hidden_size", 768)?, width(vision, "intermediate_size", 5_632)?);
    let table = product(WHAT, &[patches(vision, 448, 14)?.saturating_add(1), hidden])?;
    let layers = product(WHAT, &[width(vision, "num_hidden_layers", 34)?, plain_layer(hidden, inner)?])?;
    let (input, output) = (width(vision, "projector_input_dim", 4_096)?, width(vision, "projector_output_dim", 4_096)?);
    divide("image_size", width(vision, "image_size", 448)?, width(vision, "patch_size", 14)?)?;
    let kernel = patch(vision, "num_channels", hidden, 14)?;
    total(&[&[kernel], &[hidden], &[table], &[4, hidden], &[layers], &[inner, input], &[output, output]])
}
