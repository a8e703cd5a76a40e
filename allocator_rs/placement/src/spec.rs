//! What a caller describes: nodes with their GPUs, and items that want a place.

use crate::PlacementError;

/// A node has at most this many GPUs.
pub const MAX_GPUS: usize = 32;
/// A fleet has at most this many GPU models.
pub const MAX_MODELS: usize = 64;
/// No amount is larger, so that sums over a node stay far below 64 bits: 256 TiB, or as many thousandths of a core.
pub const MAX_AMOUNT: u64 = 1 << 48;
/// Compute of one GPU, in thousandths.
pub const WHOLE_GPU_MILLI: u32 = 1_000;

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuSpec {
    /// Its model; ranks of one item lie on GPUs of one model.
    pub model: String,
    /// Memory that items may have; 0 where memory is not accounted for.
    pub memory_bytes: u64,
    /// Compute that items may share, thousandths of the GPU; 0 where it is not accounted for.
    pub compute_milli: u32,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSpec {
    /// Unique name.
    pub id: String,
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Memory of the host.
    pub host_bytes: u64,
    /// At most [`MAX_GPUS`].
    pub gpus: Vec<GpuSpec>,
}

/// How an item stands to others of its group (a version's replicas).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Affinity {
    /// It does not care.
    #[default]
    Any,
    /// The node with the fewest of the group first.
    Spread(String),
    /// Never two of the group on one node.
    Apart(String),
}

/// What wants a place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Item {
    /// Unique name.
    pub id: String,
    /// GPUs that it takes at once, on one node and of one model (tensor-parallel ranks); 0: none.
    pub ranks: u32,
    /// GPU memory of each rank.
    pub memory_bytes: u64,
    /// Compute of each rank, thousandths of a GPU.
    pub compute_milli: u32,
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Memory of the host.
    pub host_bytes: u64,
    /// GPU models that it can use; empty: any.
    pub models: Vec<String>,
    /// How it stands to its siblings.
    pub affinity: Affinity,
    /// The one node that it may be on.
    pub node: Option<String>,
    /// Never moved and never pushed out.
    pub pinned: bool,
    /// A higher one is placed first and may push out a lower one.
    pub priority: i32,
    /// Keep room for one more copy of it, as a rolling update needs.
    pub surge: bool,
    /// What moving it costs: milliseconds until it serves again elsewhere.
    pub reload_ms: u64,
}

/// An item's needs, as nodes see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape {
    /// GPUs.
    pub ranks: u32,
    /// Compute of each, thousandths.
    pub compute_milli: u32,
    /// GPU memory of each.
    pub memory_bytes: u64,
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Memory of the host.
    pub host_bytes: u64,
    /// One bit a GPU model.
    pub models: u64,
}

/// Numbers for the names of GPU models.
#[derive(Debug, Clone, Default)]
pub struct Models(Vec<String>);

impl Models {
    /// The number of a model, a new one where it has none; None where there are too many.
    pub fn intern(&mut self, name: &str) -> Option<u32> {
        if let Some(at) = self.0.iter().position(|known| known == name) {
            return u32::try_from(at).ok();
        }
        if self.0.len() >= MAX_MODELS {
            return None;
        }
        self.0.push(name.to_owned());
        u32::try_from(self.0.len().saturating_sub(1)).ok()
    }

    /// One bit for each model that an item can use.
    fn mask(&self, names: &[String]) -> u64 {
        if names.is_empty() {
            return u64::MAX;
        }
        let bit = |(at, known): (usize, &String)| if names.contains(known) { 1_u64 << at } else { 0 };
        self.0.iter().enumerate().map(bit).fold(0, |all, one| all | one)
    }

    /// An item's needs.
    ///
    /// # Errors
    /// [`PlacementError::ItemInvalid`] for an amount that no fleet has.
    pub fn shape(&self, item: &Item) -> Result<Shape, PlacementError> {
        let invalid = |what: &str| PlacementError::ItemInvalid { id: item.id.clone(), what: what.to_owned() };
        if item.ranks as usize > MAX_GPUS {
            return Err(invalid("more ranks than a node has GPUs"));
        }
        if item.ranks == 0 && (item.memory_bytes > 0 || item.compute_milli > 0) {
            return Err(invalid("GPU memory or compute without a rank"));
        }
        if [item.memory_bytes, item.cpu_milli, item.host_bytes].iter().any(|amount| *amount > MAX_AMOUNT) {
            return Err(invalid("an amount beyond 2^48"));
        }
        Ok(Shape {
            ranks: item.ranks,
            compute_milli: item.compute_milli,
            memory_bytes: item.memory_bytes,
            cpu_milli: item.cpu_milli,
            host_bytes: item.host_bytes,
            models: self.mask(&item.models),
        })
    }
}
