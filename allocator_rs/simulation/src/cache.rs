//! A cache of models under a stream of requests: seconds of reload that each rule costs.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark over small traces made here: amounts below 2^53, positions made here"
)]

use std::collections::BTreeMap;

use eviction::{Decision, Newcomer, Resident, Settings, Usage, choose};
use placement::Random;
use serde_json::{Value, json};

use crate::SimulationError;
use crate::trace::{Trace, demand_milli};

const GIB: u64 = 1 << 30;
const MODELS: usize = 300;
const REQUESTS: usize = 100_000;
const MEAN_GAP_MS: f64 = 2_000.0;
/// Requests between two drifts of the popularity.
const DRIFT_EVERY: usize = 1_000;
/// Pairs that change places at a drift.
const DRIFTING: usize = 10;
const ZIPF: f64 = 0.9;
/// Capacity, of all models together.
const CAPACITY_PERCENT: [u64; 3] = [10, 20, 40];
const HALF_LIFE_MS: u64 = 600_000;
/// Ours with what keeps models from pushing each other out.
const CALM: Settings = Settings { min_residency_ms: 60_000, advantage: 1.0 };

struct Model {
    bytes: u64,
    reload_ms: u64,
}

struct Stream {
    models: Vec<Model>,
    /// When, and which model.
    requests: Vec<(u64, usize)>,
}

/// Run every rule over a drifting Zipf stream of each seed, and over one made from the pods where there is a trace.
///
/// # Errors
/// What the allocator refuses.
pub fn compare(trace: Option<&Trace>, seeds: std::ops::Range<u64>) -> Result<Value, SimulationError> {
    let mut runs = Vec::new();
    let streams = seeds.map(|seed| ("zipf_drift", seed, zipf(seed)));
    let pods = trace.map(|trace| ("gpu_trace", 0, pods(trace)));
    for (name, seed, stream) in streams.chain(pods) {
        let all: u64 = stream.models.iter().map(|model| model.bytes).sum();
        for percent in CAPACITY_PERCENT {
            let capacity = all * percent / 100;
            let mut add = |rule: &str, outcome: Outcome| {
                runs.push(json!({
                    "stream": name, "seed": seed, "capacity_percent": percent, "rule": rule,
                    "requests": stream.requests.len(), "models": stream.models.len(), "reloads": outcome.reloads,
                    "refused": outcome.refused, "reload_s_per_1000": outcome.per_thousand(&stream),
                }));
            };
            for (rule, priority) in [("lru", lru as Priority), ("lfu", lfu), ("gdsf", gdsf)] {
                add(rule, classic(&stream, capacity, priority, false));
            }
            add("gdsf_remembering", classic(&stream, capacity, gdsf, true));
            add("ours", ours(&stream, capacity, None)?);
            add("ours_calm", ours(&stream, capacity, Some(CALM))?);
        }
    }
    Ok(json!({ "half_life_s": HALF_LIFE_MS / 1_000, "runs": runs }))
}

fn zipf(seed: u64) -> Stream {
    let mut random = Random::new(seed);
    let model = |random: &mut Random| {
        let bytes = (GIB as f64 * 140_f64.powf(random.unit())) as u64;
        let per_gib_ms = 1_000.0 * 4_f64.powf(random.unit() - 0.5);
        Model { bytes, reload_ms: 5_000 + (bytes as f64 / GIB as f64 * per_gib_ms) as u64 }
    };
    let models: Vec<Model> = (0..MODELS).map(|_| model(&mut random)).collect();
    let mut sums = Vec::with_capacity(MODELS);
    let mut sum = 0.0;
    for rank in 1..=MODELS {
        sum += (rank as f64).powf(-ZIPF);
        sums.push(sum);
    }
    let mut by_rank: Vec<usize> = (0..MODELS).collect();
    random.shuffle(&mut by_rank);
    let (mut now_ms, mut requests) = (0.0, Vec::with_capacity(REQUESTS));
    for number in 0..REQUESTS {
        if number % DRIFT_EVERY == 0 {
            (0..DRIFTING).for_each(|_| by_rank.swap(random.below(MODELS), random.below(MODELS)));
        }
        now_ms -= MEAN_GAP_MS * (1.0 - random.unit()).ln();
        let drawn = random.unit() * sum;
        let rank = sums.partition_point(|sum| *sum < drawn).min(MODELS - 1);
        requests.push((now_ms as u64, by_rank[rank]));
    }
    Stream { models, requests }
}

/// Pods that ask for alike are requests for one model of as many GPU bytes.
fn pods(trace: &Trace) -> Stream {
    let (mut numbers, mut models, mut requests) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (pod, created_s) in trace.pods.iter().zip(&trace.created_s).filter(|(pod, _)| pod.ranks > 0) {
        let key = (pod.ranks, pod.compute_milli, pod.cpu_milli, pod.host_bytes);
        let number = *numbers.entry(key).or_insert_with(|| {
            let bytes = demand_milli(pod) * 16 * GIB / 1_000;
            models.push(Model { bytes, reload_ms: 5_000 + bytes * 1_000 / GIB });
            models.len() - 1
        });
        requests.push((created_s * 1_000, number));
    }
    requests.sort_by_key(|(at_ms, _)| *at_ms);
    Stream { models, requests }
}

#[derive(Default)]
struct Outcome {
    reloads: u64,
    reload_ms: u64,
    refused: u64,
}

impl Outcome {
    fn count(&mut self, model: &Model) {
        self.reloads += 1;
        self.reload_ms += model.reload_ms;
    }

    fn per_thousand(&self, stream: &Stream) -> f64 {
        self.reload_ms as f64 / stream.requests.len() as f64
    }
}

/// What a rule knows of a model in the cache.
struct Known {
    last: u64,
    uses: u64,
    /// GDSF's clock when it was last used.
    clock: f64,
}

type Priority = fn(&Known, &Model) -> f64;

fn lru(known: &Known, _: &Model) -> f64 {
    known.last as f64
}

fn lfu(known: &Known, _: &Model) -> f64 {
    known.uses as f64
}

/// Cherkasova, "Improving WWW proxies performance with Greedy-Dual-Size-Frequency caching policy" (1998).
fn gdsf(known: &Known, model: &Model) -> f64 {
    known.clock + known.uses as f64 * model.reload_ms as f64 / model.bytes as f64 * GIB as f64
}

/// A cache that puts out the least priority first. Counts are of models in the cache, as the rules were published, or of all
/// that were ever used where it is `remembering`.
fn classic(stream: &Stream, capacity: u64, priority: Priority, remembering: bool) -> Outcome {
    let mut counts = vec![0; stream.models.len()];
    let (mut cache, mut free) = (BTreeMap::<usize, Known>::new(), capacity);
    let (mut outcome, mut clock) = (Outcome::default(), 0.0);
    for (turn, (_, number)) in (0_u64..).zip(&stream.requests) {
        let model = &stream.models[*number];
        counts[*number] += 1;
        if let Some(known) = cache.get_mut(number) {
            *known = Known { last: turn, uses: counts[*number], clock };
            continue;
        }
        outcome.count(model);
        if model.bytes > capacity {
            counts[*number] = if remembering { counts[*number] } else { 0 };
            continue;
        }
        while free < model.bytes {
            let worth = |(at, known): (&usize, &Known)| (*at, priority(known, &stream.models[*at]));
            let least = cache.iter().map(worth).min_by(|one, other| one.1.total_cmp(&other.1));
            let Some((out, value)) = least else { break };
            clock = value;
            cache.remove(&out);
            counts[out] = if remembering { counts[out] } else { 0 };
            free += stream.models[out].bytes;
        }
        free -= model.bytes;
        cache.insert(*number, Known { last: turn, uses: counts[*number], clock });
    }
    outcome
}

/// The same with our rule. With settings a newcomer may be refused; it then costs a reload and leaves the cache as it is.
fn ours(stream: &Stream, capacity: u64, calm: Option<Settings>) -> Result<Outcome, SimulationError> {
    let names: Vec<String> = (0..stream.models.len()).map(|number| format!("{number:04}")).collect();
    let settings = calm.unwrap_or(Settings { min_residency_ms: 0, advantage: 1.0 });
    let (mut usage, mut outcome, mut free) = (Usage::new(HALF_LIFE_MS), Outcome::default(), capacity);
    let mut cache: Vec<Resident> = Vec::new();
    for (now_ms, number) in &stream.requests {
        let (model, id) = (&stream.models[*number], &names[*number]);
        usage.record(id, 1, *now_ms);
        if cache.iter().any(|one| one.id == *id) {
            continue;
        }
        outcome.count(model);
        if model.bytes > capacity {
            continue;
        }
        let newcomer = Newcomer {
            id: id.clone(),
            lacking_bytes: model.bytes.saturating_sub(free),
            reload_ms: model.reload_ms,
            required: calm.is_none(),
        };
        let Decision::Evict { ids, .. } = choose(&cache, &newcomer, &usage, settings, *now_ms)? else {
            outcome.refused += 1;
            continue;
        };
        free += cache.iter().filter(|one| ids.contains(&one.id)).map(|one| one.bytes).sum::<u64>();
        free -= model.bytes;
        cache.retain(|one| !ids.contains(&one.id));
        let (bytes, reload_ms, since_ms) = (model.bytes, model.reload_ms, *now_ms);
        cache.push(Resident { id: id.clone(), bytes, reload_ms, since_ms, pinned: false, serving: false });
    }
    Ok(outcome)
}
