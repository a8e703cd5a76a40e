//! Bounded local search: fewer useless GPUs by a few moves, room for one item by a few moves or by pushing others out, and a
//! whole batch at once. [`Fleet::repack`], [`Fleet::make_room`] and [`Fleet::find_preemption`] answer with
//! plans; nothing changes until [`Fleet::apply`].
//!
//! Moves are make-before-break and in order: at each of them the item has its new place before it leaves the old one.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "potentials of a fleet are far below 2^63, costs are added saturating"
)]
#![allow(clippy::indexing_slicing, reason = "node numbers come from the fleet's own tables")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use random::Random;

use crate::PlacementError;
use crate::fleet::{Fleet, Place, Resident};
use crate::spec::{Item, Shape};

/// A move that gains less than this many thousandths of a GPU is not worth a reload.
pub const MIN_GAIN_MILLI: i64 = 50;
/// Items that one round looks at.
const CANDIDATES: usize = 4_096;
/// Rounds of a search.
const ROUNDS: usize = 8;
/// Nodes that are tried for an item that does not fit.
const NODES_TRIED: usize = 32;

/// How far a search may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Moves.
    pub max_moves: usize,
    /// Reload time of all moves, milliseconds.
    pub max_cost_ms: u64,
    /// Equal seeds give equal plans.
    pub seed: u64,
}

/// One item's way from one place to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The item.
    pub item: String,
    /// Where it is.
    pub from: Place,
    /// Where it goes.
    pub to: Place,
    /// Its reload time.
    pub cost_ms: u64,
    /// How many thousandths of GPUs become useful; less than 0 where the move only makes room.
    pub gain_milli: i64,
}

/// Moves that make free capacity useful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repack {
    /// In this order.
    pub moves: Vec<Move>,
    /// Useless thousandths of GPUs before: fragmented and stranded.
    pub before_milli: u64,
    /// And after.
    pub after_milli: u64,
}

/// Where the items of a batch went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// In the order of the items; None: no room.
    pub places: Vec<Option<Place>>,
    /// Of what lay there before, in this order; they have been made in the fleet's book.
    pub moves: Vec<Move>,
}

/// Items of lower priority that would have to go for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preemption {
    /// The node that they leave.
    pub node: String,
    /// The items, the cheapest to bring back first.
    pub items: Vec<String>,
    /// Their reload times together.
    pub cost_ms: u64,
}

impl Fleet {
    fn useless_milli(&self) -> u64 {
        self.fragmented_milli() + self.stranded_milli()
    }

    /// Look for moves that make free capacity useful, the most useful per reload time first; no item moves twice.
    #[must_use]
    pub fn repack(&self, limits: Limits) -> Repack {
        let mut fleet = self.clone();
        let mut random = Random::new(limits.seed);
        let (mut moves, mut spent, mut done) = (Vec::new(), 0_u64, BTreeSet::new());
        for _ in 0..ROUNDS {
            let candidates = fleet.candidates(&mut random, &done);
            let before = moves.len();
            for id in candidates {
                let Some((step, node, gpus)) = fleet.step(&id) else { continue };
                let cost = spent.saturating_add(step.cost_ms);
                if moves.len() >= limits.max_moves || cost > limits.max_cost_ms {
                    continue;
                }
                spent = cost;
                fleet.carry(&id, node, gpus);
                done.insert(id);
                moves.push(step);
            }
            if moves.len() == before || moves.len() >= limits.max_moves {
                break;
            }
        }
        Repack { moves, before_milli: self.useless_milli(), after_milli: fleet.useless_milli() }
    }

    /// Make the moves of a plan.
    ///
    /// # Errors
    /// [`PlacementError::ItemUnknown`], [`PlacementError::PlaceInvalid`] where the fleet is not as the plan saw it; moves before
    /// that one are made.
    pub fn apply(&mut self, moves: &[Move]) -> Result<(), PlacementError> {
        for one in moves {
            let unknown = || PlacementError::ItemUnknown { id: one.item.clone() };
            let elsewhere = || PlacementError::PlaceInvalid { id: one.item.clone(), node: one.from.node.clone() };
            if self.whereabouts(&one.item).ok_or_else(unknown)? != one.from {
                return Err(elsewhere());
            }
            let mut arriving = self.clone_resident(&one.item).ok_or_else(unknown)?;
            // The new place is taken under another name first: make before break.
            arriving.item.id = format!("{} (arriving)", one.item);
            self.put(&arriving.item, &one.to)?;
            let arrived = self.evict(&arriving.item.id).ok_or_else(unknown)?;
            self.carry(&one.item, arrived.node, arrived.gpus);
        }
        Ok(())
    }

    /// Moves after which an item fits, and where: the cheapest found. None where none was found within the limits.
    ///
    /// # Errors
    /// As [`Fleet::place`].
    pub fn make_room(&self, item: &Item, limits: Limits) -> Result<Option<(Place, Vec<Move>)>, PlacementError> {
        let shape = self.admit(item)?;
        let mut fleet = self.clone();
        if let Some(place) = fleet.place(item)? {
            return Ok(Some((place, Vec::new())));
        }
        let homes = self.homes();
        let elsewhere =
            |one: &Resident| homes.get(&one.shape).is_some_and(|at| at.iter().any(|node| *node != one.node));
        let movable = |one: &Resident| !one.item.pinned && one.item.node.is_none() && elsewhere(one);
        for (number, leaving, _) in self.clearings(item, &shape, movable) {
            if leaving.len() > limits.max_moves {
                continue;
            }
            let before: Vec<_> = leaving.iter().filter_map(|id| fleet.residents.get(id).cloned()).collect();
            if let Some(moves) = fleet.relocate(&leaving, number)
                && moves.iter().fold(0_u64, |sum, one| sum.saturating_add(one.cost_ms)) <= limits.max_cost_ms
                && let Some(place) = fleet.place(item)?
            {
                return Ok(Some((place, moves)));
            }
            for one in before {
                fleet.carry(&one.item.id, one.node, one.gpus);
            }
        }
        Ok(None)
    }

    /// The items of lower priority whose leaving costs least and makes room for this one on one node. None where it has room
    /// without, or where nothing helps.
    ///
    /// # Errors
    /// As [`Fleet::place`].
    pub fn find_preemption(&self, item: &Item) -> Result<Option<Preemption>, PlacementError> {
        let shape = self.admit(item)?;
        let mut fleet = self.clone();
        if fleet.place(item)?.is_some() {
            return Ok(None);
        }
        let lower = |one: &Resident| !one.item.pinned && one.item.priority < item.priority;
        for (number, leaving, cost_ms) in self.clearings(item, &shape, lower) {
            let gone: Vec<_> = leaving.iter().filter_map(|id| fleet.evict(id)).collect();
            if fleet.place(item)?.is_some() {
                return Ok(Some(Preemption { node: self.names[number].clone(), items: leaving, cost_ms }));
            }
            for one in gone {
                fleet.settle(one.item, one.shape, one.node, one.gpus);
            }
        }
        Ok(None)
    }

    /// Place a batch: higher priorities first, then larger items; where one finds no room, moves make it. Answers come in the
    /// order of the items, with the moves of what lay there before.
    ///
    /// # Errors
    /// As [`Fleet::place`]; items before the faulty one are placed.
    pub fn place_all(&mut self, items: &[Item], limits: Limits) -> Result<Batch, PlacementError> {
        let mut order: Vec<&Item> = items.iter().collect();
        order.sort_by_key(|item| {
            let gpus = u64::from(item.ranks);
            let size =
                (gpus * item.memory_bytes, gpus * u64::from(item.compute_milli), item.cpu_milli, item.host_bytes);
            (Reverse(item.priority), Reverse(size), &item.id)
        });
        let fresh: BTreeSet<&str> = items.iter().map(|item| item.id.as_str()).collect();
        let (mut left, mut all_moves) = (limits, Vec::new());
        for item in order {
            if self.place(item)?.is_some() || left.max_moves == 0 {
                continue;
            }
            if let Some((_, moves)) = self.make_room(item, left)? {
                self.apply(&moves)?;
                self.place(item)?;
                left.max_moves -= moves.len();
                left.max_cost_ms -= moves.iter().map(|one| one.cost_ms).sum::<u64>();
                all_moves.extend(moves);
            }
        }
        // An item of this batch was moved before it was ever started: only where it ends counts.
        all_moves.retain(|one| !fresh.contains(one.item.as_str()));
        Ok(Batch { places: items.iter().map(|item| self.whereabouts(&item.id)).collect(), moves: all_moves })
    }

    /// Items that may move, the best gain per reload time first; of many a random sample.
    fn candidates(&mut self, random: &mut Random, moved: &BTreeSet<String>) -> Vec<String> {
        let may_move = |one: &&Resident| !one.item.pinned && one.item.node.is_none() && !moved.contains(&one.item.id);
        let mut ids: Vec<String> = self.residents.values().filter(may_move).map(|one| one.item.id.clone()).collect();
        random.shuffle(&mut ids);
        ids.truncate(CANDIDATES);
        let mut ranked = Vec::new();
        for id in ids {
            if let Some((step, ..)) = self.step(&id) {
                // Gain per second of reload; a reload that costs nothing counts as a millisecond.
                let worth = i128::from(step.gain_milli) * 1_000_000 / i128::from(step.cost_ms.max(1));
                ranked.push((Reverse(worth), ranked.len(), id));
            }
        }
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, _, id)| id).collect()
    }

    /// The best move of an item, where it gains enough.
    fn step(&mut self, id: &str) -> Option<(Move, usize, u32)> {
        let resident = self.clone_resident(id)?;
        let away = self.best(&resident.item, &resident.shape, Some(resident.node)).ok().flatten();
        let Resident { item, shape, node: from, .. } = &resident;
        let here = self.nodes[*from].choices(shape).filter(|gpus| self.keeps_surge_room(item, shape, *from, *gpus));
        let options: Vec<(usize, u32)> = away.into_iter().chain(here.map(|gpus| (*from, gpus))).collect();
        let gains = options.into_iter().map(|(node, gpus)| (self.gain(&resident, node, gpus), node, gpus));
        let (gain_milli, node, gpus) = gains.max_by_key(|(gain, node, gpus)| (*gain, Reverse((*node, *gpus))))?;
        (gain_milli >= MIN_GAIN_MILLI).then(|| (self.describe_move(&resident, node, gpus, gain_milli), node, gpus))
    }

    fn describe_move(&self, resident: &Resident, node: usize, gpus: u32, gain_milli: i64) -> Move {
        Move {
            item: resident.item.id.clone(),
            from: self.describe(resident.node, resident.gpus),
            to: self.describe(node, gpus),
            cost_ms: resident.item.reload_ms,
            gain_milli,
        }
    }

    /// How many thousandths become useful when an item moves.
    fn gain(&self, resident: &Resident, node: usize, gpus: u32) -> i64 {
        let mut source = self.nodes[resident.node].clone();
        source.give(&resident.shape, resident.gpus);
        let mut before = total(self.spoiled_by(&self.nodes[resident.node]));
        let mut after = 0;
        if node == resident.node {
            source.take(&resident.shape, gpus);
        } else {
            let mut target = self.nodes[node].clone();
            before += total(self.spoiled_by(&target));
            target.take(&resident.shape, gpus);
            after = total(self.spoiled_by(&target));
        }
        before - after - total(self.spoiled_by(&source))
    }

    /// Move an item to where there is room for it.
    fn carry(&mut self, id: &str, node: usize, gpus: u32) {
        if let Some(Resident { item, shape, .. }) = self.evict(id) {
            self.settle(item, shape, node, gpus);
        }
    }

    fn clone_resident(&self, id: &str) -> Option<Resident> {
        self.residents.get(id).cloned()
    }

    /// For each shape that lies somewhere up to two nodes that have room for one more.
    fn homes(&self) -> BTreeMap<Shape, Vec<usize>> {
        let shapes: BTreeSet<Shape> = self.residents.values().map(|one| one.shape).collect();
        let fitting = |shape: &Shape| {
            let nodes = self.nodes.iter().enumerate().filter(|(_, node)| node.fits(shape));
            nodes.map(|(number, _)| number).take(2).collect()
        };
        shapes.into_iter().map(|shape| (shape, fitting(&shape))).collect()
    }

    /// Nodes on which an item would fit without some of those that may leave: node, who leaves, what that costs; the cheapest
    /// first.
    fn clearings(
        &self,
        item: &Item,
        shape: &Shape,
        may_leave: impl Fn(&Resident) -> bool,
    ) -> Vec<(usize, Vec<String>, u64)> {
        let mut found = Vec::new();
        for number in 0..self.nodes.len() {
            if item.node.as_ref().is_some_and(|name| *name != self.names[number]) {
                continue;
            }
            if let Some((leaving, cost)) = self.clearing(number, shape, &may_leave) {
                found.push((number, leaving, cost));
            }
        }
        found.sort_by_key(|(number, leaving, cost)| (*cost, leaving.len(), *number));
        found.truncate(NODES_TRIED);
        found
    }

    /// Who has to leave a node: the cheapest one after the other until the shape fits, less those that were not needed.
    fn clearing(
        &self,
        number: usize,
        shape: &Shape,
        may_leave: &impl Fn(&Resident) -> bool,
    ) -> Option<(Vec<String>, u64)> {
        let mut lodgers: Vec<&Resident> =
            self.lodgers[number].iter().filter_map(|id| self.residents.get(id)).filter(|one| may_leave(one)).collect();
        lodgers.sort_by_key(|one| (one.item.reload_ms, &one.item.id));
        let mut node = self.nodes[number].clone();
        let mut leaving = Vec::new();
        for one in lodgers {
            if node.fits(shape) {
                break;
            }
            node.give(&one.shape, one.gpus);
            leaving.push(one);
        }
        if !node.fits(shape) {
            return None;
        }
        let mut needed = Vec::new();
        for one in leaving.into_iter().rev() {
            node.take(&one.shape, one.gpus);
            if !node.fits(shape) {
                node.give(&one.shape, one.gpus);
                needed.push(one);
            }
        }
        needed.reverse();
        let cost = needed.iter().fold(0_u64, |sum, one| sum.saturating_add(one.item.reload_ms));
        Some((needed.iter().map(|one| one.item.id.clone()).collect(), cost))
    }

    /// Move items off a node; None where one finds no other place.
    fn relocate(&mut self, ids: &[String], from: usize) -> Option<Vec<Move>> {
        let mut moves = Vec::new();
        for id in ids {
            let resident = self.clone_resident(id)?;
            let (node, gpus) = self.best(&resident.item, &resident.shape, Some(from)).ok()??;
            let gain = self.gain(&resident, node, gpus);
            moves.push(self.describe_move(&resident, node, gpus, gain));
            self.carry(id, node, gpus);
        }
        Some(moves)
    }
}

fn total((stranded, fragmented): (u64, u64)) -> i64 {
    i64::try_from(stranded + fragmented).unwrap_or(i64::MAX)
}
