//! What the allocator is compared with, written from the descriptions in the literature and checked against the published
//! allocation rates. They know CPU, host memory and GPU shares; as their authors' simulator they judge by CPU and GPU only.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a benchmark over a small, checked trace: amounts below 2^53, positions made here"
)]

use std::collections::HashMap;

use placement::{Item, NodeSpec};

const MAX_CPU_MILLI: f64 = 128_000.0;
const MAX_GPU_MILLI: f64 = 8_000.0;
const WHOLE: u64 = 1_000;

/// A rule that orders nodes; ties go to the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The node with the least left over: weighted CPU and GPU.
    BestFit,
    /// The least product of what is free and what is asked for (Grandl et al., "Multi-resource packing", SIGCOMM 2014).
    DotProduct,
    /// Fragmentation gradient descent as its simulator computes it: `int(sigmoid(dF/1000)*100)`.
    FgdPublished,
    /// The same with the real-valued gradient of the paper.
    FgdReal,
}

/// What one node has left.
#[derive(Clone)]
struct Machine {
    cpu: u64,
    host: u64,
    gpus: Vec<u64>,
    /// The bit of its GPUs' model.
    model: u64,
}

/// What a pod asks for; host memory is no part of the expected pods.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Pod {
    cpu: u64,
    milli: u64,
    number: u64,
    host: u64,
    /// One bit for each GPU model that it may have.
    models: u64,
}

impl Pod {
    fn of(item: &Item, known: &[String]) -> Self {
        let bit = |(at, name): (usize, &String)| u64::from(item.models.contains(name)) << at;
        Self {
            cpu: item.cpu_milli,
            milli: u64::from(item.compute_milli),
            number: u64::from(item.ranks),
            host: item.host_bytes,
            models: if item.models.is_empty() { u64::MAX } else { known.iter().enumerate().map(bit).sum() },
        }
    }
}

/// The names of all GPU models, in the order of the nodes; a model's bit is its place here.
fn models(nodes: &[NodeSpec]) -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    for gpu in nodes.iter().flat_map(|node| &node.gpus) {
        if !known.contains(&gpu.model) {
            known.push(gpu.model.clone());
        }
    }
    known
}

impl Machine {
    fn free(&self) -> u64 {
        self.gpus.iter().sum()
    }

    fn fits(&self, pod: &Pod) -> bool {
        self.cpu >= pod.cpu && self.host >= pod.host && self.fits_gpus(pod)
    }

    fn fits_gpus(&self, pod: &Pod) -> bool {
        if pod.number > 0 && self.model & pod.models == 0 {
            return false;
        }
        self.gpus.iter().filter(|left| **left >= pod.milli).count() as u64 >= pod.number
    }

    /// A shared pod goes to `gpu`, any other to the first GPUs that fit.
    fn take(&mut self, pod: &Pod, gpu: Option<usize>) {
        self.cpu -= pod.cpu;
        self.host -= pod.host;
        if let Some(at) = gpu {
            self.gpus[at] -= pod.milli;
            return;
        }
        for left in self.gpus.iter_mut().filter(|left| **left >= pod.milli).take(pod.number as usize) {
            *left -= pod.milli;
        }
    }

    fn fragmented(&self, expected: &[(Pod, f64)]) -> f64 {
        let all = self.free();
        let unusable = |pod: &Pod| {
            if pod.milli > 0 && self.cpu >= pod.cpu && self.fits_gpus(pod) {
                self.gpus.iter().filter(|left| **left < pod.milli).sum()
            } else {
                all
            }
        };
        expected.iter().map(|(pod, share)| share * unusable(pod) as f64).sum()
    }
}

/// The most frequent pods that make up 95 % of all.
fn expected(pods: &[Item], known: &[String]) -> Vec<(Pod, f64)> {
    let mut counts: HashMap<Pod, u64> = HashMap::new();
    for pod in pods {
        *counts.entry(Pod { host: 0, ..Pod::of(pod, known) }).or_default() += 1;
    }
    let mut sorted: Vec<_> = counts.into_iter().collect();
    sorted.sort_by_key(|(pod, count)| std::cmp::Reverse((*count, *pod)));
    let (mut sum, mut kept) = (0, Vec::new());
    for (pod, count) in sorted {
        if sum as f64 >= 0.95 * pods.len() as f64 {
            break;
        }
        sum += count;
        kept.push((pod, count as f64));
    }
    kept.iter().map(|(pod, count)| (*pod, count / sum as f64)).collect()
}

/// Nodes that one of the rules fills.
pub struct Baseline {
    rule: Rule,
    models: Vec<String>,
    machines: Vec<Machine>,
    expected: Vec<(Pod, f64)>,
    versions: Vec<u32>,
    /// By pod and node: version, score, GPU. A score is as of a version.
    scores: HashMap<Pod, Vec<Score>>,
}

/// A node's score as of a version, and the GPU for a shared pod; None where the pod does not fit.
#[derive(Clone, Copy, Default)]
struct Score {
    version: u32,
    value: Option<f64>,
    gpu: Option<usize>,
}

impl Baseline {
    /// Empty nodes.
    #[must_use]
    pub fn new(rule: Rule, nodes: &[NodeSpec], pods: &[Item]) -> Self {
        let models = models(nodes);
        let bit = |node: &NodeSpec| {
            let named = |name: &String| node.gpus.first().is_some_and(|gpu| gpu.model == *name);
            models.iter().position(named).map_or(0, |at| 1 << at)
        };
        let machine = |node: &NodeSpec| Machine {
            cpu: node.cpu_milli,
            host: node.host_bytes,
            gpus: vec![WHOLE; node.gpus.len()],
            model: bit(node),
        };
        let (machines, expected) = (nodes.iter().map(machine).collect(), expected(pods, &models));
        Self { rule, models, machines, expected, versions: vec![1; nodes.len()], scores: HashMap::new() }
    }

    /// Place a pod; whether it fitted somewhere.
    pub fn place(&mut self, item: &Item) -> bool {
        let pod = Pod::of(item, &self.models);
        let unknown = || vec![Score::default(); self.machines.len()];
        let mut row = self.scores.remove(&pod).unwrap_or_else(unknown);
        let mut best: Option<(f64, usize, Option<usize>)> = None;
        for (at, kept) in row.iter_mut().enumerate() {
            if kept.version != self.versions[at] {
                let (value, gpu) = self.score(&self.machines[at], &pod);
                *kept = Score { version: self.versions[at], value, gpu };
            }
            if let Score { value: Some(value), gpu, .. } = *kept
                && best.is_none_or(|(highest, ..)| value > highest)
            {
                best = Some((value, at, gpu));
            }
        }
        self.scores.insert(pod, row);
        let Some((_, at, gpu)) = best else {
            return false;
        };
        self.machines[at].take(&pod, gpu);
        self.versions[at] += 1;
        true
    }

    /// A node's score for a pod, higher is better, and the GPU for a shared one; None where it does not fit.
    fn score(&self, machine: &Machine, pod: &Pod) -> (Option<f64>, Option<usize>) {
        if !machine.fits(pod) {
            return (None, None);
        }
        let partial = pod.number == 1 && pod.milli < WHOLE;
        let cores = (machine.cpu as f64 / MAX_CPU_MILLI, pod.cpu as f64 / MAX_CPU_MILLI);
        let shares = (machine.free() as f64 / MAX_GPU_MILLI, (pod.milli * pod.number) as f64 / MAX_GPU_MILLI);
        let fitting = || (0..machine.gpus.len()).filter(|at| machine.gpus[*at] >= pod.milli);
        let least_left = || fitting().min_by_key(|at| machine.gpus[*at]).filter(|_| partial);
        match self.rule {
            Rule::BestFit => {
                let rest = f64::midpoint(cores.0 - cores.1, shares.0 - shares.1);
                (Some(((1.0 - rest) * 100.0).floor()), least_left())
            }
            Rule::DotProduct => {
                let product = f64::midpoint(cores.0 * cores.1, shares.0 * shares.1);
                (Some(((1.0 - product) * 100.0).floor()), least_left())
            }
            Rule::FgdPublished | Rule::FgdReal => {
                let choices: Vec<_> = if partial { fitting().map(Some).collect() } else { vec![None] };
                self.descend(machine, pod, &choices)
            }
        }
    }

    fn descend(&self, machine: &Machine, pod: &Pod, choices: &[Option<usize>]) -> (Option<f64>, Option<usize>) {
        let before = machine.fragmented(&self.expected);
        let mut best: (Option<f64>, Option<usize>) = (None, None);
        for gpu in choices {
            let mut after = machine.clone();
            after.take(pod, *gpu);
            let fall = before - after.fragmented(&self.expected);
            let score = match self.rule {
                Rule::FgdPublished => (100.0 / (1.0 + (-fall / 1_000.0).exp())).floor(),
                _ => fall,
            };
            // Sums of shares differ in their last bits with the order of the GPUs; that is no difference.
            if best.0.is_none_or(|highest| score > highest + 1e-9) {
                best = (Some(score), *gpu);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use placement::{GpuSpec, Item, NodeSpec};

    use super::{Baseline, Rule};

    fn node(id: &str, gpus: usize) -> NodeSpec {
        let gpu = GpuSpec { model: "A".to_owned(), memory_bytes: 0, compute_milli: 1_000 };
        NodeSpec { id: id.to_owned(), cpu_milli: 16_000, host_bytes: 100, gpus: vec![gpu; gpus] }
    }

    #[test]
    fn a_bound_pod_has_its_model_or_no_place() {
        let other = GpuSpec { model: "B".to_owned(), memory_bytes: 0, compute_milli: 1_000 };
        let nodes = [node("a", 1), NodeSpec { gpus: vec![other], ..node("b", 0) }];
        let bound = |names: &[&str]| Item { models: names.iter().map(|name| (*name).to_owned()).collect(), ..pod(600) };
        for rule in [Rule::BestFit, Rule::DotProduct, Rule::FgdPublished, Rule::FgdReal] {
            let mut baseline = Baseline::new(rule, &nodes, &[bound(&["B"])]);
            assert!(baseline.place(&bound(&["B"])) && !baseline.place(&bound(&["B"])), "one card of it");
            assert!(
                !baseline.place(&bound(&["C"])) && baseline.place(&bound(&["B", "A"])) && !baseline.place(&pod(600))
            );
        }
    }

    fn pod(compute_milli: u32) -> Item {
        Item { ranks: 1, compute_milli, cpu_milli: 1_000, host_bytes: 1, ..Item::default() }
    }

    #[test]
    fn each_rule_has_its_node() {
        let (nodes, expected) = ([node("large", 8), node("small", 1)], [pod(1_000)]);
        let chosen = |rule| {
            let mut baseline = Baseline::new(rule, &nodes, &expected);
            assert!(baseline.place(&pod(500)));
            baseline.machines[1].free() == 500
        };
        assert!(chosen(Rule::BestFit) && chosen(Rule::DotProduct), "the node with less left");
        assert!(!chosen(Rule::FgdPublished) && !chosen(Rule::FgdReal), "equally bad: the first");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for rule in [Rule::BestFit, Rule::DotProduct, Rule::FgdPublished, Rule::FgdReal] {
            let mut baseline = Baseline::new(rule, &[node("one", 1)], &[pod(600)]);
            assert!(baseline.place(&pod(600)) && !baseline.place(&pod(600)) && baseline.place(&pod(400)));
            assert!(!baseline.place(&Item { cpu_milli: 15_000, ..Item::default() }));
            assert!(baseline.place(&Item { cpu_milli: 14_000, ..Item::default() }));
        }
    }
}
