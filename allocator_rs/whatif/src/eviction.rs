//! Room made by others: which to park or evict, at the least expected seconds of waiting.

use placement::{Device, place};

use crate::{Action, Alternative, EvictionCandidate, Situation};

impl EvictionCandidate {
    fn undo_seconds(&self, action: Action) -> Option<f64> {
        if action == Action::Park { self.wake_seconds } else { Some(self.reload_seconds) }
    }
}

/// Parking alone, and evicting alone, each where it makes enough room.
pub fn alternatives(situation: &Situation<'_>, needed_bytes: u64) -> Vec<Alternative> {
    [Action::Park, Action::Evict].into_iter().filter_map(|action| make_room(situation, needed_bytes, action)).collect()
}

fn make_room(situation: &Situation<'_>, needed_bytes: u64, action: Action) -> Option<Alternative> {
    // Expected seconds of waiting for each byte: what hurts least goes first (greedy-dual's order).
    let mut order: Vec<(&EvictionCandidate, f64)> = situation
        .candidates
        .iter()
        .filter(|candidate| candidate.bytes > 0)
        .filter_map(|candidate| Some((candidate, candidate.undo_seconds(action)?)))
        .collect();
    order.sort_by(|(one, undo), (other, other_undo)| {
        price(one, *undo).total_cmp(&price(other, *other_undo)).then_with(|| one.name.cmp(&other.name))
    });
    let mut chosen: Vec<(&EvictionCandidate, f64)> = Vec::new();
    for candidate in order {
        chosen.push(candidate);
        if fits(situation, needed_bytes, &chosen).is_some() {
            break;
        }
    }
    // The last one may have made some of the others needless: spare the dearest that can be.
    for at in (0..chosen.len()).rev() {
        let mut fewer = chosen.clone();
        fewer.remove(at);
        if fits(situation, needed_bytes, &fewer).is_some() {
            chosen = fewer;
        }
    }
    if chosen.is_empty() {
        return None;
    }
    let device_id = fits(situation, needed_bytes, &chosen)?;
    let names: Vec<String> = chosen.iter().map(|(candidate, _)| candidate.name.clone()).collect();
    let to = if action == Action::Park { "host memory" } else { "disk" };
    Some(Alternative {
        action,
        choice: situation.wanted,
        upper_bytes: needed_bytes,
        device_id,
        freed_bytes: chosen.iter().fold(0, |sum, (candidate, _)| sum.saturating_add(candidate.bytes)),
        undo_seconds: chosen.iter().map(|(_, undo)| undo).sum(),
        warning: format!("{} go to {to}: their next requests wait", names.join(", ")),
        victims: names,
    })
}

#[allow(clippy::cast_precision_loss, reason = "an order of magnitude decides; no byte is counted with it")]
fn price(candidate: &EvictionCandidate, undo_seconds: f64) -> f64 {
    undo_seconds * candidate.uses_per_hour.max(f64::MIN_POSITIVE) / candidate.bytes as f64
}

/// The first replica's device once those that were chosen are gone.
fn fits(situation: &Situation<'_>, needed_bytes: u64, gone: &[(&EvictionCandidate, f64)]) -> Option<String> {
    let devices: Vec<Device> = situation
        .devices
        .iter()
        .map(|device| {
            let freed = gone
                .iter()
                .filter(|(candidate, _)| candidate.device_id == device.id)
                .fold(0_u64, |sum, (candidate, _)| sum.saturating_add(candidate.bytes));
            Device { reserved_bytes: device.reserved_bytes.saturating_sub(freed), ..device.clone() }
        })
        .collect();
    place(&devices, needed_bytes, situation.replicas).ok()??.into_iter().next()
}
