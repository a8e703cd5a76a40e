//! What a node has left, what fits on it, and where on it.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "amounts are at most 2^48 and GPUs at most 32 a node, both checked when they come in"
)]

use crate::PlacementError;
use crate::spec::{MAX_AMOUNT, MAX_GPUS, Models, NodeSpec, Shape, WHOLE_GPU_MILLI};

/// What one GPU has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gpu {
    model: u32,
    compute_milli: u32,
    compute_left: u32,
    memory_bytes: u64,
    memory_left: u64,
    /// Thousandths of the GPU that can still be used: of the scarcer of compute and memory. Kept, as it is asked for often.
    room_milli: u64,
}

impl Gpu {
    fn fits(&self, shape: &Shape) -> bool {
        self.compute_left >= shape.compute_milli
            && self.memory_left >= shape.memory_bytes
            && (shape.models >> self.model) & 1 == 1
    }

    fn measured(mut self) -> Self {
        let compute = share_milli(u64::from(self.compute_left), u64::from(self.compute_milli));
        self.room_milli = compute.min(share_milli(self.memory_left, self.memory_bytes));
        self
    }
}

/// What is left in thousandths of all; whole where nothing is accounted for.
fn share_milli(left: u64, all: u64) -> u64 {
    (left * u64::from(WHOLE_GPU_MILLI)).checked_div(all).unwrap_or(u64::from(WHOLE_GPU_MILLI))
}

/// What a node has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    cpu_milli: u64,
    cpu_left: u64,
    host_bytes: u64,
    host_left: u64,
    gpus: Vec<Gpu>,
}

impl Node {
    /// An empty node.
    ///
    /// # Errors
    /// [`PlacementError::NodeInvalid`] for too many GPUs or GPU models, or an amount beyond reason.
    pub fn new(spec: &NodeSpec, models: &mut Models) -> Result<Self, PlacementError> {
        let invalid = |what: &str| PlacementError::NodeInvalid { id: spec.id.clone(), what: what.to_owned() };
        if spec.gpus.len() > MAX_GPUS {
            return Err(invalid("more than 32 GPUs"));
        }
        let mut gpus = Vec::with_capacity(spec.gpus.len());
        for gpu in &spec.gpus {
            let model = models.intern(&gpu.model).ok_or_else(|| invalid("more than 64 GPU models in the fleet"))?;
            if gpu.memory_bytes > MAX_AMOUNT {
                return Err(invalid("an amount beyond 2^48"));
            }
            let one = Gpu {
                model,
                compute_milli: gpu.compute_milli,
                compute_left: gpu.compute_milli,
                memory_bytes: gpu.memory_bytes,
                memory_left: gpu.memory_bytes,
                room_milli: 0,
            };
            gpus.push(one.measured());
        }
        if [spec.cpu_milli, spec.host_bytes].iter().any(|amount| *amount > MAX_AMOUNT) {
            return Err(invalid("an amount beyond 2^48"));
        }
        let (cpu_milli, host_bytes) = (spec.cpu_milli, spec.host_bytes);
        Ok(Self { cpu_milli, cpu_left: cpu_milli, host_bytes, host_left: host_bytes, gpus })
    }

    /// Whether the shape fits somewhere on the node.
    pub fn fits(&self, shape: &Shape) -> bool {
        self.fits_host(shape) && self.fits_gpus(shape)
    }

    /// Whether as many GPUs of one model as there are ranks have room.
    fn fits_gpus(&self, shape: &Shape) -> bool {
        let same = |model: u32| self.gpus.iter().filter(|gpu| gpu.model == model && gpu.fits(shape)).count();
        match shape.ranks {
            0 => true,
            1 => self.gpus.iter().any(|gpu| gpu.fits(shape)),
            ranks => self.gpus.iter().any(|gpu| gpu.fits(shape) && same(gpu.model) >= ranks as usize),
        }
    }

    fn fits_host(&self, shape: &Shape) -> bool {
        self.cpu_left >= shape.cpu_milli && self.host_left >= shape.host_bytes
    }

    /// The GPUs, one bit each, that an item could take, without two choices that leave the same behind. One rank: each GPU
    /// that fits; several: for each model the tightest that fit. An item without ranks has the one empty choice.
    pub fn choices(&self, shape: &Shape) -> impl Iterator<Item = u32> {
        let ranks = shape.ranks as usize;
        let mut found = Vec::new();
        if !self.fits_host(shape) {
            return found.into_iter();
        }
        if ranks == 0 {
            found.push(0);
        } else if ranks == 1 {
            for (at, gpu) in self.gpus.iter().enumerate().filter(|(_, gpu)| gpu.fits(shape)) {
                if !self.gpus.iter().take(at).any(|earlier| earlier == gpu) {
                    found.push(1_u32 << at);
                }
            }
        } else {
            self.choose_several(shape, ranks, &mut found);
        }
        found.into_iter()
    }

    fn choose_several(&self, shape: &Shape, ranks: usize, found: &mut Vec<u32>) {
        for (first, gpu) in self.gpus.iter().enumerate() {
            if self.gpus.iter().take(first).any(|earlier| earlier.model == gpu.model) {
                continue;
            }
            let fitting = |one: &(usize, &Gpu)| one.1.model == gpu.model && one.1.fits(shape);
            let mut same: Vec<_> = self.gpus.iter().enumerate().filter(fitting).collect();
            if same.len() >= ranks {
                same.sort_by_key(|(at, one)| (one.room_milli, *at));
                found.push(same.iter().take(ranks).fold(0, |mask, (at, _)| mask | 1_u32 << at));
            }
        }
    }

    /// Whether an item fits on exactly these GPUs: as many as it has ranks, of one model.
    pub fn accepts(&self, shape: &Shape, mask: u32) -> bool {
        let mut chosen = self.chosen(mask);
        let model = chosen.next().map(|gpu| gpu.model);
        self.fits_host(shape)
            && mask.count_ones() == shape.ranks
            && self.chosen(mask).count() == shape.ranks as usize
            && self.chosen(mask).all(|gpu| gpu.fits(shape) && Some(gpu.model) == model)
    }

    fn chosen(&self, mask: u32) -> impl Iterator<Item = &Gpu> {
        self.gpus.iter().enumerate().filter(move |(at, _)| (mask >> at) & 1 == 1).map(|(_, gpu)| gpu)
    }

    /// Take what an accepted item needs.
    pub fn take(&mut self, shape: &Shape, mask: u32) {
        self.cpu_left -= shape.cpu_milli;
        self.host_left -= shape.host_bytes;
        for (at, gpu) in self.gpus.iter_mut().enumerate() {
            if (mask >> at) & 1 == 1 {
                gpu.compute_left -= shape.compute_milli;
                gpu.memory_left -= shape.memory_bytes;
                *gpu = gpu.measured();
            }
        }
    }

    /// Give back what an item had.
    pub fn give(&mut self, shape: &Shape, mask: u32) {
        self.cpu_left += shape.cpu_milli;
        self.host_left += shape.host_bytes;
        for (at, gpu) in self.gpus.iter_mut().enumerate() {
            if (mask >> at) & 1 == 1 {
                gpu.compute_left += shape.compute_milli;
                gpu.memory_left += shape.memory_bytes;
                *gpu = gpu.measured();
            }
        }
    }

    /// Thousandths of GPUs that are free.
    pub fn room_milli(&self) -> u64 {
        self.gpus.iter().map(|gpu| gpu.room_milli).sum()
    }

    /// Free GPU thousandths that a shape could not use here: all of them where it does not fit, else those of the GPUs
    /// that are too small for it (Weng et al., "Beware of Fragmentation", USENIX ATC 2023, section 4.2). A shape without
    /// ranks can use none of them.
    pub fn unusable_milli(&self, shape: &Shape) -> u64 {
        let (mut fitting, mut free, mut too_small) = (0_u32, 0, 0);
        for gpu in &self.gpus {
            let fits = gpu.fits(shape);
            fitting += u32::from(fits);
            free += gpu.room_milli;
            too_small += if fits { 0 } else { gpu.room_milli };
        }
        let enough = fitting >= shape.ranks && (shape.ranks <= 1 || self.fits_gpus(shape));
        if shape.ranks > 0 && enough && self.fits_host(shape) { too_small } else { free }
    }

    /// Free GPU thousandths that the host cannot feed: those beyond the share of CPU or host memory that is left.
    pub fn stranded_milli(&self) -> u64 {
        let host = share_milli(self.cpu_left, self.cpu_milli).min(share_milli(self.host_left, self.host_bytes));
        self.room_milli().saturating_sub(host * self.gpus.len() as u64)
    }
}
