//! Alibaba's `cluster-trace-gpu-v2023`: nodes and pods as CSV files, and arrivals drawn from them.

use std::path::Path;

use placement::{GpuSpec, Item, NodeSpec, Random};

use crate::SimulationError;

const NODES: &str = "openb_node_list_gpu_node.csv";
const PODS: &str = "openb_pod_list_default.csv";
const BYTES_PER_MIB: u64 = 1 << 20;

/// Nodes and pods, in the order of the files.
pub struct Trace {
    /// Machines with GPUs.
    pub nodes: Vec<NodeSpec>,
    /// Pods; `id` is the trace's name.
    pub pods: Vec<Item>,
    /// When each pod came, seconds.
    pub created_s: Vec<u64>,
}

/// Read the two files of a trace.
///
/// # Errors
/// A file that is missing or malformed.
pub fn read(directory: &Path) -> Result<Trace, SimulationError> {
    let mut nodes = Vec::new();
    for fields in rows(&directory.join(NODES))? {
        let [id, cpu_milli, memory_mib, gpus, model, ..] = fields.as_slice() else {
            return Err(SimulationError::Row(fields.join(",")));
        };
        let gpu = GpuSpec { model: model.clone(), memory_bytes: 0, compute_milli: 1_000 };
        nodes.push(NodeSpec {
            id: id.clone(),
            cpu_milli: number(cpu_milli)?,
            host_bytes: number(memory_mib)?.saturating_mul(BYTES_PER_MIB),
            gpus: vec![gpu; usize::try_from(number(gpus)?).unwrap_or(usize::MAX).min(placement::MAX_GPUS)],
        });
    }
    let (mut pods, mut created_s) = (Vec::new(), Vec::new());
    for fields in rows(&directory.join(PODS))? {
        let [id, cpu_milli, memory_mib, gpus, gpu_milli, gpu_models, _qos, _phase, created, ..] = fields.as_slice()
        else {
            return Err(SimulationError::Row(fields.join(",")));
        };
        pods.push(Item {
            id: id.clone(),
            ranks: u32::try_from(number(gpus)?).unwrap_or(u32::MAX),
            compute_milli: u32::try_from(number(gpu_milli)?).unwrap_or(u32::MAX),
            cpu_milli: number(cpu_milli)?,
            host_bytes: number(memory_mib)?.saturating_mul(BYTES_PER_MIB),
            models: gpu_models.split('|').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            ..Item::default()
        });
        created_s.push(number(created)?);
    }
    Ok(Trace { nodes, pods, created_s })
}

fn rows(path: &Path) -> Result<Vec<Vec<String>>, SimulationError> {
    let text = std::fs::read_to_string(path).map_err(|error| SimulationError::File { path: path.to_owned(), error })?;
    Ok(text.lines().skip(1).map(|line| line.split(',').map(|field| field.trim().to_owned()).collect()).collect())
}

fn number(text: &str) -> Result<u64, SimulationError> {
    text.parse::<f64>()
        .ok()
        .filter(|value| (0.0..9e15).contains(value))
        .map(whole)
        .ok_or_else(|| SimulationError::Number(text.to_owned()))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in 0..9e15")]
const fn whole(value: f64) -> u64 {
    value as u64
}

/// What a pod asks for, thousandths of a GPU.
#[must_use]
pub fn demand_milli(pod: &Item) -> u64 {
    u64::from(pod.ranks).saturating_mul(u64::from(pod.compute_milli))
}

/// Thousandths of GPUs that there are.
#[must_use]
pub fn capacity_milli(trace: &Trace) -> u64 {
    trace.nodes.iter().flat_map(|node| &node.gpus).map(|gpu| u64::from(gpu.compute_milli)).sum()
}

/// The arrivals of one seed, and the order of the nodes: every pod once in random order, then pods drawn at random until the
/// demand reaches `load_percent` of the capacity; nodes in random order. As the published experiments draw them.
#[must_use]
pub fn draw(trace: &Trace, load_percent: u64, seed: u64) -> (Vec<NodeSpec>, Vec<Item>) {
    let mut random = Random::new(seed);
    let mut arrivals = trace.pods.clone();
    random.shuffle(&mut arrivals);
    let limit = capacity_milli(trace).saturating_mul(load_percent);
    let mut demand: u64 = trace.pods.iter().map(demand_milli).sum();
    while let Some(pod) = trace.pods.get(random.below(trace.pods.len())) {
        let next = demand.saturating_add(u64::from(pod.compute_milli));
        if next.saturating_mul(100) > limit {
            break;
        }
        demand = demand.saturating_add(demand_milli(pod));
        let id = format!("{}-drawn-{}", pod.id, arrivals.len());
        arrivals.push(Item { id, ..pod.clone() });
    }
    let mut nodes = trace.nodes.clone();
    random.shuffle(&mut nodes);
    (nodes, arrivals)
}

/// Bind every third pod with GPUs to one card type of the `kinds` most frequent ones, drawn by how many cards of each the nodes have.
pub fn bind(trace: &mut Trace, kinds: usize, seed: u64) {
    let mut cards: Vec<(String, usize)> = Vec::new();
    for gpu in trace.nodes.iter().flat_map(|node| &node.gpus) {
        match cards.iter_mut().find(|(name, _)| *name == gpu.model) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => cards.push((gpu.model.clone(), 1)),
        }
    }
    cards.sort_by(|(first, few), (second, many)| many.cmp(few).then_with(|| first.cmp(second)));
    cards.truncate(kinds);
    let all: usize = cards.iter().map(|(_, count)| count).sum();
    let mut random = Random::new(seed);
    for pod in trace.pods.iter_mut().filter(|pod| pod.ranks > 0).skip(2).step_by(3) {
        let mut drawn = random.below(all);
        for (name, count) in &cards {
            if drawn < *count {
                pod.models = vec![name.clone()];
                break;
            }
            drawn = drawn.saturating_sub(*count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{bind, capacity_milli, demand_milli, draw, read};

    fn written() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let nodes = "sn,cpu_milli,memory_mib,gpu,model\nn0,8000,1024,4,A\nn1,4000,512,0,B\n";
        let pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time\n\
                    p0,1000,1,1,500,,LS,Running,7\np1,1000,1,2,1000,A|B,LS,Running,9\n";
        std::fs::write(directory.path().join(super::NODES), nodes).unwrap();
        std::fs::write(directory.path().join(super::PODS), pods).unwrap();
        directory
    }

    #[test]
    fn rows_become_nodes_and_pods() {
        let directory = written();
        let trace = read(directory.path()).unwrap();
        assert_eq!((capacity_milli(&trace), trace.created_s.as_slice()), (4_000, &[7, 9][..]));
        assert_eq!(trace.pods.iter().map(demand_milli).collect::<Vec<_>>(), [500, 2_000]);
        assert_eq!(trace.pods[1].models, ["A", "B"]);
        std::fs::write(directory.path().join(super::PODS), "name\np0,1\n").unwrap();
        assert!(read(directory.path()).is_err());
    }

    #[test]
    fn every_third_pod_is_bound_by_the_shares_of_the_cards() {
        let directory = written();
        let mut trace = read(directory.path()).unwrap();
        let (one, node) = (trace.pods[0].clone(), trace.nodes[0].clone());
        trace.pods = vec![one; 3_000];
        let other = placement::GpuSpec { model: "B".to_owned(), ..node.gpus[0].clone() };
        trace.nodes = vec![node.clone(), placement::NodeSpec { gpus: vec![other], ..node }];
        bind(&mut trace, 2, 7);
        let count = |name: &str| trace.pods.iter().filter(|pod| pod.models == [name]).count();
        assert_eq!(count("A") + count("B"), 1_000);
        assert!((150..250).contains(&count("B")), "one card of five: {}", count("B"));
        bind(&mut trace, 1, 7);
        assert_eq!(trace.pods.iter().filter(|pod| pod.models == ["A"]).count(), 1_000);
    }

    #[test]
    fn arrivals_follow_from_the_seed_and_stop_at_the_load() {
        let trace = read(written().path()).unwrap();
        let (nodes, arrivals) = draw(&trace, 130, 7);
        assert_eq!((nodes, arrivals.clone()), draw(&trace, 130, 7));
        let demand: u64 = arrivals.iter().map(demand_milli).sum();
        assert!((2_500..=6_200).contains(&demand), "{demand}");
    }
}
