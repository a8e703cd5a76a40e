//! Engine profiles: what each keeps beside the weights.

pub mod paged;
pub mod pages;

use crate::ledger::{Ledger, Totals};
use crate::request::{Engine, Request};
use crate::weights::{Stage, check_split, covered_ppm, stages};
use crate::{Checkpoint, Result, Sized, WeightDtype, torch};

/// Components of one instance for a request: those of the rank that needs the most, and the totals of all ranks.
///
/// # Errors
/// What [`Request::check`] says; [`crate::SizingError::EngineDtype`], [`crate::SizingError::QuantisationIneffective`],
/// [`crate::SizingError::Overflow`].
pub fn size_for(checkpoint: &Checkpoint, request: &Request) -> Result<Sized> {
    let (ranks, stage) = rank_totals(checkpoint, request)?;
    let mut sized = Sized { warnings: checkpoint.warnings.clone(), ..Sized::default() };
    sized.components.reserve(12);
    itemise(checkpoint, request, stage, &mut sized)?;
    sized.verified = request.engine == Engine::Torch;
    if !sized.verified {
        let name = request.engine.name();
        sized.warn(|| format!("profile unverified: nothing was run on {name} to compare these figures with"));
    }
    sized.quantised_ppm = match request.engine {
        Engine::Torch => torch::quantised_ppm(checkpoint, request.dtype)?,
        _ => covered_ppm(checkpoint, request.dtype)?,
    };
    sized.kv_bytes_per_token = pages::bytes_per_token(checkpoint, request)?;
    sized.ranks = ranks;
    Ok(sized)
}

/// Components of one instance of a checkpoint.
///
/// # Errors
/// [`crate::SizingError::ContextInvalid`], [`crate::SizingError::ConcurrencyInvalid`], [`crate::SizingError::QuantisationIneffective`],
/// [`crate::SizingError::Overflow`].
pub fn size(checkpoint: &Checkpoint, dtype: WeightDtype, context_length: u64, max_concurrency: u64) -> Result<Sized> {
    size_for(checkpoint, &Request::torch(dtype, context_length, max_concurrency))
}

/// Totals of the rank that needs the most; nothing is allocated where nothing is split.
///
/// # Errors
/// As [`size_for`].
pub fn totals_for(checkpoint: &Checkpoint, request: &Request) -> Result<Totals> {
    if request.pipeline_parallel == 1 {
        request.check(checkpoint.model.shape.max_context)?;
        check_split(checkpoint, request)?;
        let mut totals = Totals::default();
        itemise(checkpoint, request, whole(checkpoint), &mut totals)?;
        return Ok(totals);
    }
    let (ranks, _) = rank_totals(checkpoint, request)?;
    Ok(ranks.into_iter().max_by_key(|totals| totals.upper_bytes).unwrap_or_default())
}

const fn whole(checkpoint: &Checkpoint) -> Stage {
    Stage { begin: 0, end: checkpoint.model.shape.layers, first: true, last: true }
}

/// Totals of every rank, and the stage that needs the most. Ranks of one stage are alike.
fn rank_totals(checkpoint: &Checkpoint, request: &Request) -> Result<(Vec<Totals>, Stage)> {
    request.check(checkpoint.model.shape.max_context)?;
    check_split(checkpoint, request)?;
    let mut ranks = Vec::new();
    let mut worst = (0, whole(checkpoint));
    for stage in stages(checkpoint.model.shape.layers, request.pipeline_parallel) {
        let mut totals = Totals::default();
        itemise(checkpoint, request, stage, &mut totals)?;
        if ranks.is_empty() || totals.upper_bytes > worst.0 {
            worst = (totals.upper_bytes, stage);
        }
        ranks.extend((0..request.tensor_parallel).map(|_| totals));
    }
    Ok((ranks, worst.1))
}

fn itemise<L: Ledger>(checkpoint: &Checkpoint, request: &Request, stage: Stage, ledger: &mut L) -> Result<()> {
    match request.engine {
        Engine::Torch => torch::itemise(checkpoint, request, ledger),
        _ => paged::itemise(checkpoint, request, stage, ledger),
    }
}
