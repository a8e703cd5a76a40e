//! Vision towers and the projectors behind them, as sums of parameters (transformers 5.23).

use super::defaults::{CLIP, IDEFICS_3, LLAMA_4_VISION, PIXTRAL, SIGLIP, filled};
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
            Self::Llama4 => {
                let vision = filled(&vision, LLAMA_4_VISION);
                named(llama_4(&vision)?, total(&[&[width(&vision, "vision_output_dim", 7_680)?, hidden]])?)
            }
            Self::Gemma3 => {
                let (tower, width) = any(&vision, "siglip_vision_model")?;
                named(tower, total(&[&[width, hidden], &[width]])?)
            }
            Self::Mistral3 => {
                let (tower, width) = any(&vision, "pixtral")?;
                named(tower, mistral_3(whole, width, hidden)?)
            }
            Self::Llava => {
                let (tower, width) = any(&vision, "clip_vision_model")?;
                named(tower, llava(whole, width, hidden)?)
            }
            Self::PaliGemma => {
                let (tower, width) = any(&vision, "siglip_vision_model")?;
                // `PaliGemmaConfig` puts its own width into the tower's config, whatever that says.
                let output = whole.count("projection_dim", Some(2_048))?;
                named(tower, total(&[&[width, output], &[output]])?)
            }
            Self::Idefics3 => {
                let vision = filled(&vision, IDEFICS_3);
                let factor = whole.count("scale_factor", Some(2))?;
                let width = vision.count("hidden_size", None)?;
                named(siglip_body(&vision)?, total(&[&[width, factor, factor, hidden]])?)
            }
        })
    }
}

fn width(fields: &Fields, field: &'static str, default: u64) -> Result<u64> {
    fields.count(field, Some(default))
}

/// Elements of a convolution's kernel over patches.
fn patch(vision: &Fields, hidden: u64) -> Result<u64> {
    let side = vision.count("patch_size", None)?;
    product(WHAT, &[width(vision, "num_channels", 3)?, side, side, hidden])
}

/// Patches of a square picture.
fn patches(vision: &Fields) -> Result<u64> {
    let across = vision.count("image_size", None)?.checked_div(vision.count("patch_size", None)?).unwrap_or(0);
    product(WHAT, &[across, across])
}

/// A tower by its `model_type`, of which a wrapper has one by default: its elements and its width.
fn any(vision: &Fields, default: &'static str) -> Result<(u64, u64)> {
    let (defaults, count): (_, fn(&Fields) -> Result<u64>) = match vision.text("model_type")?.unwrap_or(default) {
        "siglip_vision_model" => (SIGLIP, siglip),
        "pixtral" => (PIXTRAL, pixtral),
        "clip_vision_model" => (CLIP, clip),
        other => {
            let value = other.chars().take(60).collect();
            return Err(SizingError::FeatureUnsupported { field: "vision_config.model_type", value });
        }
    };
    let vision = filled(vision, defaults);
    Ok((count(&vision)?, vision.count("hidden_size", None)?))
}

/// Attention and an MLP of two layers, all with biases, and two layer norms.
fn plain_layer(hidden: u64, inner: u64) -> Result<u64> {
    total(&[&[4, hidden, hidden], &[4, hidden], &[2, hidden, inner], &[hidden], &[inner], &[4, hidden]])
}

/// Of a config that has all sizes, as the next three.
fn siglip_body(vision: &Fields) -> Result<u64> {
    let (hidden, inner) = (vision.count("hidden_size", None)?, vision.count("intermediate_size", None)?);
    let table = product(WHAT, &[patches(vision)?, hidden])?;
    let kernel = patch(vision, hidden)?;
    let layers = product(WHAT, &[vision.count("num_hidden_layers", None)?, plain_layer(hidden, inner)?])?;
    total(&[&[kernel], &[hidden], &[table], &[layers], &[2, hidden]])
}

/// With the pooling head that its config has unless it says otherwise.
fn siglip(vision: &Fields) -> Result<u64> {
    let (hidden, inner) = (vision.count("hidden_size", None)?, vision.count("intermediate_size", None)?);
    let body = siglip_body(vision)?;
    if !vision.flag("vision_use_head", true)? {
        return Ok(body);
    }
    let attention = total(&[&[4, hidden, hidden], &[4, hidden]])?;
    total(&[&[body], &[hidden], &[attention], &[2, hidden], &[2, hidden, inner], &[hidden], &[inner]])
}

fn clip(vision: &Fields) -> Result<u64> {
    let (hidden, inner) = (vision.count("hidden_size", None)?, vision.count("intermediate_size", None)?);
    let table = product(WHAT, &[patches(vision)?.saturating_add(1), hidden])?;
    let kernel = patch(vision, hidden)?;
    let layers = product(WHAT, &[vision.count("num_hidden_layers", None)?, plain_layer(hidden, inner)?])?;
    total(&[&[kernel], &[hidden], &[table], &[layers], &[4, hidden]])
}

fn pixtral(vision: &Fields) -> Result<u64> {
    let (hidden, inner) = (vision.count("hidden_size", None)?, vision.count("intermediate_size", None)?);
    let layer = total(&[&[4, hidden, hidden], &[3, hidden, inner], &[2, hidden]])?;
    let layers = product(WHAT, &[vision.count("num_hidden_layers", None)?, layer])?;
    total(&[&[patch(vision, hidden)?], &[hidden], &[layers]])
}

/// Layers of the tower whose results stand side by side.
fn feature_layers(whole: &Fields) -> u64 {
    let listed = whole.value("vision_feature_layer").and_then(serde_json::Value::as_array);
    listed.and_then(|list| u64::try_from(list.len()).ok()).unwrap_or(1).max(1)
}

fn mistral_3(whole: &Fields, wide: u64, hidden: u64) -> Result<u64> {
    let merge = width(whole, "spatial_merge_size", 2)?;
    let bias = if whole.flag("multimodal_projector_bias", false)? { product(WHAT, &[2, hidden])? } else { 0 };
    let layers = feature_layers(whole);
    let merged = product(WHAT, &[wide, merge, merge])?;
    total(&[&[wide], &[merged, wide], &[wide, layers, hidden], &[hidden, hidden], &[bias]])
}

fn llava(whole: &Fields, wide: u64, hidden: u64) -> Result<u64> {
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
    let side = width(vision, "patch_size", default_side)?;
    product(WHAT, &[width(vision, channels, 3)?, side, side, hidden, width(vision, "temporal_patch_size", 2)?])
}

fn llama_4(vision: &Fields) -> Result<u64> {
    let (hidden, inner) = (vision.count("hidden_size", None)?, vision.count("intermediate_size", None)?);
    let table = product(WHAT, &[patches(vision)?.saturating_add(1), hidden])?;
    let layers = product(WHAT, &[vision.count("num_hidden_layers", None)?, plain_layer(hidden, inner)?])?;
    let (input, output) = (width(vision, "projector_input_dim", 4_096)?, width(vision, "projector_output_dim", 4_096)?);
    divide("image_size", vision.count("image_size", None)?, vision.count("patch_size", None)?)?;
    let kernel = patch(vision, hidden)?;
    total(&[&[kernel], &[hidden], &[table], &[4, hidden], &[layers], &[inner, input], &[output, output]])
}
