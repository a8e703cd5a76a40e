//! Nodes with what lies on them, and the place of the next arrival.
//!
//! A place is judged by what it spoils, in this order: siblings of the item on the node (where it asks to be spread), GPU
//! capacity that the host could no longer feed, and capacity that the expected arrivals could no longer use, in steps of
//! [`STEP_MILLI`]; among equals the first node wins. The middle term is the gradient of fragmentation of Weng et al.
//! ("Beware of Fragmentation", USENIX ATC 2023). Steps and "first wins" are what makes it work: an exact gradient follows
//! noise and spreads items over all nodes, and so does a tie broken at random.
//!
//! Judgements are kept for each shape and node, and made again only for nodes that have changed since.

#![allow(
    clippy::indexing_slicing,
    reason = "node and item numbers are made here, and point into tables that only grow"
)]
#![allow(clippy::arithmetic_side_effects, reason = "counts of nodes and items; potentials are at most 64,000")]

use std::collections::{BTreeMap, HashMap};

use crate::PlacementError;
use crate::fragmentation::Workload;
use crate::node::Node;
use crate::spec::{Affinity, Item, Models, NodeSpec, Shape};

/// Fragmentation counts in steps of this many thousandths of a GPU.
pub const STEP_MILLI: i64 = 50;
/// Shapes whose judgements are kept; when there are more, all are forgotten.
const MAX_RETAINED_SHAPES: usize = 1_024;
/// Growth of stranded capacity in thousandths of a GPU, then of fragmented capacity in steps.
type Spoiled = (i32, i32);
/// Siblings and what is spoiled, node, GPUs.
type Best = ((usize, Spoiled), usize, u32);
/// What a judgement says of a node without room.
const NO_ROOM: Spoiled = (i32::MAX, i32::MAX);

/// Where an item lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The node's name.
    pub node: String,
    /// GPU numbers on it, ascending; empty for an item without ranks.
    pub gpus: Vec<u32>,
}

/// An item that lies somewhere.
#[derive(Debug, Clone)]
pub(crate) struct Resident {
    pub item: Item,
    pub shape: Shape,
    pub node: usize,
    pub gpus: u32,
}

/// What is thought of one node for one shape, as of a version of the node.
#[derive(Debug, Clone, Copy)]
struct Judgement {
    version: u32,
    spoiled: Spoiled,
    gpus: u32,
}

/// Nodes with what lies on them.
#[derive(Debug, Clone)]
pub struct Fleet {
    models: Models,
    pub(crate) names: Vec<String>,
    numbers: HashMap<String, usize>,
    pub(crate) nodes: Vec<Node>,
    /// The first node that was made as each one is: while both are empty, they are judged alike.
    alike: Vec<usize>,
    versions: Vec<u32>,
    /// Stranded and fragmented thousandths of each node.
    spoiled: Vec<(u64, u64)>,
    workload: Workload,
    judgements: HashMap<Shape, Vec<Judgement>>,
    pub(crate) residents: BTreeMap<String, Resident>,
    /// Names of the items on each node.
    pub(crate) lodgers: Vec<Vec<String>>,
    /// Shapes for whose surge copy there must be room, with how many items want it.
    surging: BTreeMap<Shape, usize>,
}

impl Fleet {
    /// An empty fleet. The order of the nodes matters: among equals the first is taken.
    ///
    /// # Errors
    /// [`PlacementError::NodeDuplicate`], [`PlacementError::NodeInvalid`].
    pub fn new(specs: &[NodeSpec]) -> Result<Self, PlacementError> {
        let mut models = Models::default();
        let mut numbers = HashMap::new();
        let mut nodes = Vec::with_capacity(specs.len());
        for (number, spec) in specs.iter().enumerate() {
            if numbers.insert(spec.id.clone(), number).is_some() {
                return Err(PlacementError::NodeDuplicate { id: spec.id.clone() });
            }
            nodes.push(Node::new(spec, &mut models)?);
        }
        let mut fleet = Self {
            models,
            names: specs.iter().map(|spec| spec.id.clone()).collect(),
            numbers,
            versions: vec![1; nodes.len()],
            alike: nodes.iter().map(|node| nodes.iter().position(|one| one == node).unwrap_or_default()).collect(),
            lodgers: vec![Vec::new(); nodes.len()],
            spoiled: vec![(0, 0); nodes.len()],
            nodes,
            workload: Workload::default(),
            judgements: HashMap::new(),
            residents: BTreeMap::new(),
            surging: BTreeMap::new(),
        };
        fleet.measure();
        Ok(fleet)
    }

    /// Say what is expected to arrive; nothing is expected before.
    ///
    /// # Errors
    /// [`PlacementError::ItemInvalid`].
    pub fn expect(&mut self, seen: &[Item], share_percent: u64) -> Result<(), PlacementError> {
        let shapes = seen.iter().map(|item| self.models.shape(item)).collect::<Result<Vec<_>, _>>()?;
        self.workload = Workload::learn(&shapes, share_percent);
        self.judgements.clear();
        self.measure();
        Ok(())
    }

    fn measure(&mut self) {
        self.spoiled = self.nodes.iter().map(|node| self.spoiled_by(node)).collect();
    }

    /// Stranded and fragmented thousandths.
    pub(crate) fn spoiled_by(&self, node: &Node) -> (u64, u64) {
        (node.stranded_milli(), self.workload.fragmented_milli(node))
    }

    /// Find the best place for an item and take it; None where there is none.
    ///
    /// # Errors
    /// [`PlacementError::ItemDuplicate`], [`PlacementError::ItemInvalid`], [`PlacementError::NodeUnknown`] for the node that it
    /// must be on.
    pub fn place(&mut self, item: &Item) -> Result<Option<Place>, PlacementError> {
        let shape = self.admit(item)?;
        let Some((node, gpus)) = self.best(item, &shape, None)? else {
            return Ok(None);
        };
        self.settle(item.clone(), shape, node, gpus);
        Ok(Some(self.describe(node, gpus)))
    }

    /// Enter an item that lies somewhere already. Only capacity is checked: what is there is there.
    ///
    /// # Errors
    /// [`PlacementError::PlaceInvalid`] where it does not fit; else as [`Fleet::place`].
    pub fn put(&mut self, item: &Item, place: &Place) -> Result<(), PlacementError> {
        let shape = self.admit(item)?;
        let node = self.number(&place.node)?;
        let gpus = place.gpus.iter().try_fold(0_u32, |mask, gpu| {
            let bit = 1_u32.checked_shl(*gpu)?;
            (mask & bit == 0).then_some(mask | bit)
        });
        let Some(gpus) = gpus.filter(|mask| self.nodes[node].accepts(&shape, *mask)) else {
            return Err(PlacementError::PlaceInvalid { id: item.id.clone(), node: place.node.clone() });
        };
        self.settle(item.clone(), shape, node, gpus);
        Ok(())
    }

    /// Take an item away.
    ///
    /// # Errors
    /// [`PlacementError::ItemUnknown`].
    pub fn remove(&mut self, id: &str) -> Result<(), PlacementError> {
        self.evict(id).map(|_| ()).ok_or_else(|| PlacementError::ItemUnknown { id: id.to_owned() })
    }

    /// Where an item lies.
    #[must_use]
    pub fn whereabouts(&self, id: &str) -> Option<Place> {
        self.residents.get(id).map(|resident| self.describe(resident.node, resident.gpus))
    }

    /// Whether some node has what the item needs, whatever else speaks against it.
    ///
    /// # Errors
    /// [`PlacementError::ItemInvalid`].
    pub fn has_room(&self, item: &Item) -> Result<bool, PlacementError> {
        let shape = self.models.shape(item)?;
        Ok(self.nodes.iter().any(|node| node.fits(&shape)))
    }

    /// Items that lie somewhere.
    #[must_use]
    pub fn len(&self) -> usize {
        self.residents.len()
    }

    /// Whether nothing lies anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.residents.is_empty()
    }

    /// Thousandths of GPUs that are free.
    #[must_use]
    pub fn free_milli(&self) -> u64 {
        self.nodes.iter().map(Node::room_milli).sum()
    }

    /// Free thousandths of GPUs that the expected arrivals could not use.
    #[must_use]
    pub fn fragmented_milli(&self) -> u64 {
        self.spoiled.iter().map(|(_, fragmented)| fragmented).sum()
    }

    /// Free thousandths of GPUs that their hosts could not feed.
    #[must_use]
    pub fn stranded_milli(&self) -> u64 {
        self.spoiled.iter().map(|(stranded, _)| stranded).sum()
    }

    /// Check an item and give its needs.
    pub(crate) fn admit(&self, item: &Item) -> Result<Shape, PlacementError> {
        if self.residents.contains_key(&item.id) {
            return Err(PlacementError::ItemDuplicate { id: item.id.clone() });
        }
        self.models.shape(item)
    }

    fn number(&self, name: &str) -> Result<usize, PlacementError> {
        self.numbers.get(name).copied().ok_or_else(|| PlacementError::NodeUnknown { id: name.to_owned() })
    }

    pub(crate) fn describe(&self, node: usize, gpus: u32) -> Place {
        Place { node: self.names[node].clone(), gpus: (0..u32::BITS).filter(|at| (gpus >> at) & 1 == 1).collect() }
    }

    /// The best node and GPUs for an item, not on `barred`.
    pub(crate) fn best(
        &mut self,
        item: &Item,
        shape: &Shape,
        barred: Option<usize>,
    ) -> Result<Option<(usize, u32)>, PlacementError> {
        let only = item.node.as_ref().map(|name| self.number(name)).transpose()?;
        let mut row = self.judged(shape);
        let mut best: Option<Best> = None;
        let mut empty: Vec<(usize, Judgement)> = Vec::new();
        for (number, kept) in row.iter_mut().enumerate() {
            if kept.version != self.versions[number] {
                *kept = self.judge_again(number, shape, &mut empty);
            }
            let Judgement { spoiled, gpus, .. } = *kept;
            if spoiled == NO_ROOM || only.is_some_and(|one| one != number) || barred == Some(number) {
                continue;
            }
            let rank = (self.siblings_that_count(item, number), spoiled);
            if best.is_none_or(|(least, ..)| rank < least) && self.allows(item, shape, number, gpus) {
                best = Some((rank, number, gpus));
            }
        }
        self.judgements.insert(*shape, row);
        Ok(best.map(|(_, number, gpus)| (number, gpus)))
    }

    /// The judgements of a shape, to be put back after use.
    fn judged(&mut self, shape: &Shape) -> Vec<Judgement> {
        if self.judgements.len() >= MAX_RETAINED_SHAPES && !self.judgements.contains_key(shape) {
            self.judgements.clear();
        }
        let unknown = Judgement { version: 0, spoiled: NO_ROOM, gpus: 0 };
        self.judgements.remove(shape).unwrap_or_else(|| vec![unknown; self.nodes.len()])
    }

    /// Judge a node, or take over what was just thought of an empty one like it.
    fn judge_again(&self, number: usize, shape: &Shape, empty: &mut Vec<(usize, Judgement)>) -> Judgement {
        if !self.lodgers[number].is_empty() {
            return self.judge(number, shape);
        }
        if let Some((_, known)) = empty.iter().find(|(kind, _)| *kind == self.alike[number]) {
            return Judgement { version: self.versions[number], ..*known };
        }
        let found = self.judge(number, shape);
        empty.push((self.alike[number], found));
        found
    }

    /// What the best place on a node would spoil.
    fn judge(&self, number: usize, shape: &Shape) -> Judgement {
        let node = &self.nodes[number];
        let mut best = (NO_ROOM, 0);
        if node.fits(shape) {
            let before = self.spoiled[number];
            for gpus in node.choices(shape) {
                let mut after = node.clone();
                after.take(shape, gpus);
                let (stranded, fragmented) = self.spoiled_by(&after);
                let steps = growth(before.1, fragmented).div_euclid(STEP_MILLI);
                let spoiled = (small(growth(before.0, stranded)), small(steps));
                if spoiled < best.0 {
                    best = (spoiled, gpus);
                }
            }
        }
        Judgement { version: self.versions[number], spoiled: best.0, gpus: best.1 }
    }

    fn siblings_that_count(&self, item: &Item, number: usize) -> usize {
        match &item.affinity {
            Affinity::Spread(group) => self.siblings(group, number),
            Affinity::Any | Affinity::Apart(_) => 0,
        }
    }

    /// Items of a group on a node.
    fn siblings(&self, group: &str, number: usize) -> usize {
        let of_group = |id: &&String| match self.residents.get(*id).map(|resident| &resident.item.affinity) {
            Some(Affinity::Spread(one) | Affinity::Apart(one)) => one == group,
            Some(Affinity::Any) | None => false,
        };
        self.lodgers[number].iter().filter(of_group).count()
    }

    /// Whether the item's siblings and the surge copies leave it the place.
    fn allows(&self, item: &Item, shape: &Shape, number: usize, gpus: u32) -> bool {
        let apart = match &item.affinity {
            Affinity::Apart(group) => self.siblings(group, number) == 0,
            Affinity::Any | Affinity::Spread(_) => true,
        };
        apart && self.keeps_surge_room(item, shape, number, gpus)
    }

    /// Whether each surge copy that has room now, and the item's own, would still have room.
    pub(crate) fn keeps_surge_room(&self, item: &Item, shape: &Shape, number: usize, gpus: u32) -> bool {
        if self.surging.is_empty() && !item.surge {
            return true;
        }
        let mut after = self.nodes[number].clone();
        after.take(shape, gpus);
        let elsewhere =
            |one: &Shape| self.nodes.iter().enumerate().any(|(other, node)| other != number && node.fits(one));
        let has_room = |one: &Shape| after.fits(one) || elsewhere(one);
        // Room that was not there before cannot be spoiled.
        self.surging.keys().all(|one| !self.nodes[number].fits(one) || has_room(one))
            && (!item.surge || has_room(shape))
    }

    /// Put an item down where there is room.
    pub(crate) fn settle(&mut self, item: Item, shape: Shape, node: usize, gpus: u32) {
        self.nodes[node].take(&shape, gpus);
        self.touch(node);
        self.lodgers[node].push(item.id.clone());
        if item.surge {
            *self.surging.entry(shape).or_default() += 1;
        }
        self.residents.insert(item.id.clone(), Resident { item, shape, node, gpus });
    }

    /// Pick an item up.
    pub(crate) fn evict(&mut self, id: &str) -> Option<Resident> {
        let resident = self.residents.remove(id)?;
        self.nodes[resident.node].give(&resident.shape, resident.gpus);
        self.touch(resident.node);
        self.lodgers[resident.node].retain(|one| one != id);
        if resident.item.surge
            && let Some(count) = self.surging.get_mut(&resident.shape)
        {
            *count -= 1;
            if *count == 0 {
                self.surging.remove(&resident.shape);
            }
        }
        Some(resident)
    }

    fn touch(&mut self, node: usize) {
        self.versions[node] = self.versions[node].wrapping_add(1).max(1);
        self.spoiled[node] = self.spoiled_by(&self.nodes[node]);
    }
}

/// How much a potential grew.
fn growth(before: u64, after: u64) -> i64 {
    small_signed(after) - small_signed(before)
}

fn small_signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Potentials of one node fit easily; anything else would be as bad as can be, short of no room.
fn small(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX - 1)
}
