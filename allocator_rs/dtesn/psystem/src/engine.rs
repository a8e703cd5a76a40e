//! The maximal parallel step.

use std::sync::Arc;

use crate::SystemError;
use crate::model::{Action, Charge, Multiset, Rule, System};
use crate::random::Random;
use crate::structure::Change;

/// Division ends here.
pub const MAX_MEMBRANES: usize = 1 << 16;
/// Membranes times objects.
pub(crate) const MAX_CELLS: usize = 1 << 25;

/// Which of several maximal multisets is taken.
#[derive(Debug, Clone)]
pub enum Choice {
    /// In the order of the rules, each as often as possible.
    InOrder,
    /// A random one; every maximal multiset can come.
    Random(u64),
}

/// A membrane of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Stays the same while the membrane lives; a division's second copy gets new ones.
    pub id: u64,
    /// Index into the labels.
    pub label: usize,
    /// Its charge.
    pub charge: Charge,
    /// Index of the membrane around it; the skin's is its own.
    pub parent: usize,
}

/// Rule instances that were applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The membrane's id.
    pub membrane: u64,
    /// Index of the rule.
    pub rule: usize,
    /// How many instances.
    pub times: u64,
}

/// Membranes and objects at a time.
#[derive(Debug, Clone)]
pub struct Configuration {
    system: Arc<System>,
    index: Arc<Index>,
    /// In preorder.
    pub(crate) nodes: Vec<Node>,
    /// Row by row of a membrane.
    pub(crate) counts: Vec<u64>,
    pub(crate) environment: Vec<u64>,
    pub(crate) next_id: u64,
}

/// Rules by label.
#[derive(Debug)]
struct Index {
    own: Vec<Vec<usize>>,
    send_in: Vec<Vec<usize>>,
    any_send_in: bool,
}

impl Index {
    fn new(system: &System) -> Self {
        let mut found = Self {
            own: vec![vec![]; system.labels.len()],
            send_in: vec![vec![]; system.labels.len()],
            any_send_in: false,
        };
        for (number, rule) in system.rules.iter().enumerate() {
            if matches!(rule.action, Action::SendIn { .. }) {
                found.send_in[rule.label].push(number);
                found.any_send_in = true;
            } else {
                found.own[rule.label].push(number);
            }
        }
        found
    }
}

/// A rule that may be applied: to `owner`, taking objects of the region in work.
#[derive(Clone, Copy)]
struct Candidate {
    rule: usize,
    owner: usize,
}

/// Instances that were chosen, and where objects that go in arrive.
struct Chosen {
    rule: usize,
    owner: usize,
    times: u64,
}

impl Configuration {
    /// The system's start.
    #[must_use]
    pub fn new(system: Arc<System>) -> Self {
        let width = system.symbols.len();
        let mut counts = vec![0; width * system.membranes.len()];
        for (membrane, row) in system.membranes.iter().zip(counts.chunks_exact_mut(width.max(1))) {
            membrane.contents.iter().for_each(|(symbol, times)| row[*symbol] = *times);
        }
        let node = |(number, membrane): (usize, &crate::Membrane)| Node {
            id: number as u64,
            label: membrane.label,
            charge: membrane.charge,
            parent: membrane.parent.unwrap_or(0),
        };
        let nodes: Vec<_> = system.membranes.iter().enumerate().map(node).collect();
        let index = Arc::new(Index::new(&system));
        let next_id = nodes.len() as u64;
        Self { system, index, nodes, counts, environment: vec![0; width], next_id }
    }

    /// The system.
    #[must_use]
    pub const fn system(&self) -> &Arc<System> {
        &self.system
    }

    /// The membranes, in preorder.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Copies of each object in a membrane, by its index among the nodes.
    #[must_use]
    pub fn contents(&self, node: usize) -> &[u64] {
        let width = self.width();
        self.counts.get(node * width..(node + 1) * width).unwrap_or(&[])
    }

    /// Copies of each object that left the skin.
    #[must_use]
    pub fn environment(&self) -> &[u64] {
        &self.environment
    }

    /// Put objects into a membrane.
    ///
    /// # Errors
    /// [`SystemError::Unknown`] and [`SystemError::Overflow`].
    pub fn insert(&mut self, id: u64, symbol: usize, times: u64) -> Result<(), SystemError> {
        let node = self.nodes.iter().position(|node| node.id == id);
        let node = node.ok_or_else(|| SystemError::Unknown { what: "membrane", value: id.to_string() })?;
        if symbol >= self.width() {
            return Err(SystemError::Unknown { what: "object", value: symbol.to_string() });
        }
        self.add(Some(node), &[(symbol, times)], 1)
    }

    /// One step. Nothing is applied where the result is empty: the system has halted.
    ///
    /// # Errors
    /// [`SystemError::Overflow`] and [`SystemError::TooManyMembranes`]; then the configuration is as it was.
    pub fn step(&mut self, choice: &mut Choice) -> Result<Vec<Applied>, SystemError> {
        let mut next = self.clone();
        let applied = next.advance(choice)?;
        if !applied.is_empty() {
            *self = next;
        }
        Ok(applied)
    }

    /// Steps until nothing can be applied; returns how many there were.
    ///
    /// # Errors
    /// [`SystemError::NotHalted`] after `limit` steps, and what [`Configuration::step`] has.
    pub fn run(&mut self, choice: &mut Choice, limit: u64) -> Result<u64, SystemError> {
        for steps in 0..=limit {
            let mut next = self.clone();
            if next.advance(choice)?.is_empty() {
                return Ok(steps);
            }
            if steps < limit {
                *self = next;
            }
        }
        Err(SystemError::NotHalted { steps: limit })
    }

    pub(crate) fn width(&self) -> usize {
        self.system.symbols.len()
    }

    fn advance(&mut self, choice: &mut Choice) -> Result<Vec<Applied>, SystemError> {
        let system = Arc::clone(&self.system);
        let mut random = match choice {
            Choice::InOrder => None,
            Choice::Random(seed) => {
                let mut random = Random::new(*seed);
                *seed = random.up_to(u64::MAX);
                Some(random)
            }
        };
        let mut used = vec![false; self.nodes.len()];
        let mut chosen = Vec::new();
        let mut candidates = Vec::new();
        for region in 0..self.nodes.len() {
            self.candidates(&system, region, &used, &mut candidates);
            self.choose(&system, region, &mut candidates, &mut used, &mut chosen, random.as_mut());
        }
        let applied = chosen
            .iter()
            .map(|one: &Chosen| Applied { membrane: self.nodes[one.owner].id, rule: one.rule, times: one.times })
            .collect();
        self.apply(&system, &chosen, random.as_mut())?;
        Ok(applied)
    }

    /// Rules that could be applied in a region by themselves, less those that a higher priority blocks.
    fn candidates(&self, system: &System, region: usize, used: &[bool], out: &mut Vec<Candidate>) {
        out.clear();
        let node = self.nodes[region];
        let fits = |rule: &Rule, owner: usize| {
            rule.charge == self.nodes[owner].charge
                && !(rule.is_single() && used[owner])
                && !(rule.is_structural() && owner == 0)
                && self.instances(region, rule) > 0
                && self.has_targets(region, rule)
        };
        let mut highest = u32::MAX;
        for &rule in &self.index.own[node.label] {
            if fits(&system.rules[rule], region) {
                highest = highest.min(system.rules[rule].priority.unwrap_or(u32::MAX));
                out.push(Candidate { rule, owner: region });
            }
        }
        out.retain(|one| system.rules[one.rule].priority.is_none_or(|level| level <= highest));
        if !self.index.any_send_in {
            return;
        }
        for owner in self.children(region) {
            let start = out.len();
            let rules = &self.index.send_in[self.nodes[owner].label];
            out.extend(rules.iter().map(|&rule| Candidate { rule, owner }));
            let mut place = start;
            let mut level = u32::MAX;
            while place < out.len() {
                let rule = &system.rules[out[place].rule];
                if fits(rule, owner) {
                    level = level.min(rule.priority.unwrap_or(u32::MAX));
                    place += 1;
                } else {
                    out.remove(place);
                }
            }
            let mut place = start;
            while place < out.len() {
                if system.rules[out[place].rule].priority.is_some_and(|own| own > level) {
                    out.remove(place);
                } else {
                    place += 1;
                }
            }
        }
    }

    fn choose(
        &mut self,
        system: &System,
        region: usize,
        candidates: &mut [Candidate],
        used: &mut [bool],
        chosen: &mut Vec<Chosen>,
        random: Option<&mut Random>,
    ) {
        let start = chosen.len();
        if let Some(random) = random {
            random.shuffle(candidates);
            for &one in candidates.iter() {
                let most = self.most(system, region, one, used);
                self.take(system, region, one, random.up_to(most), used, chosen);
            }
        }
        for &one in candidates.iter() {
            let most = self.most(system, region, one, used);
            let known = chosen[start..].iter().position(|other| other.rule == one.rule && other.owner == one.owner);
            if let (Some(place), true) = (known, most > 0) {
                chosen[start + place].times += most;
                self.consume(region, &system.rules[one.rule].left, most);
            } else {
                self.take(system, region, one, most, used, chosen);
            }
        }
    }

    fn most(&self, system: &System, region: usize, one: Candidate, used: &[bool]) -> u64 {
        let rule = &system.rules[one.rule];
        let most = self.instances(region, rule);
        if rule.is_single() { most.min(u64::from(!used[one.owner])) } else { most }
    }

    fn take(
        &mut self,
        system: &System,
        region: usize,
        one: Candidate,
        times: u64,
        used: &mut [bool],
        chosen: &mut Vec<Chosen>,
    ) {
        if times == 0 {
            return;
        }
        let rule = &system.rules[one.rule];
        used[one.owner] |= rule.is_single();
        self.consume(region, &rule.left, times);
        chosen.push(Chosen { rule: one.rule, owner: one.owner, times });
    }

    /// How often the objects of a region suffice.
    fn instances(&self, region: usize, rule: &Rule) -> u64 {
        let row = &self.counts[region * self.width()..];
        rule.left.iter().map(|(symbol, times)| row[*symbol] / times).min().unwrap_or(0)
    }

    fn has_targets(&self, region: usize, rule: &Rule) -> bool {
        match &rule.action {
            Action::Evolve { into, .. } => {
                into.iter().all(|(label, _)| self.children(region).any(|child| self.nodes[child].label == *label))
            }
            _ => true,
        }
    }

    fn children(&self, region: usize) -> impl Iterator<Item = usize> {
        (region + 1..self.nodes.len()).filter(move |&node| self.nodes[node].parent == region)
    }

    fn consume(&mut self, region: usize, left: &Multiset, times: u64) {
        let start = region * self.width();
        for (symbol, each) in left {
            self.counts[start + symbol] -= each * times;
        }
    }

    /// Add products to a node, or to the environment.
    pub(crate) fn add(
        &mut self,
        node: Option<usize>,
        products: &[(usize, u64)],
        times: u64,
    ) -> Result<(), SystemError> {
        let width = self.width();
        for &(symbol, each) in products {
            let count = match node {
                Some(node) => &mut self.counts[node * width + symbol],
                None => &mut self.environment[symbol],
            };
            let more = each.checked_mul(times).and_then(|more| count.checked_add(more));
            let Some(more) = more else {
                return Err(SystemError::Overflow { symbol: self.system.symbols[symbol].clone() });
            };
            *count = more;
        }
        Ok(())
    }

    fn around(&self, node: usize) -> Option<usize> {
        (node > 0).then(|| self.nodes[node].parent)
    }

    fn apply(
        &mut self,
        system: &System,
        chosen: &[Chosen],
        mut random: Option<&mut Random>,
    ) -> Result<(), SystemError> {
        let mut changes: Vec<(usize, Change)> = Vec::new();
        for one in chosen {
            match &system.rules[one.rule].action {
                Action::Evolve { here, out, into, dissolve } => {
                    self.add(Some(one.owner), here, one.times)?;
                    self.add(self.around(one.owner), out, one.times)?;
                    for (label, products) in into {
                        let child = self.target(one.owner, *label, random.as_deref_mut());
                        self.add(child, products, one.times)?;
                    }
                    if *dissolve {
                        changes.push((one.owner, Change::Dissolve));
                    }
                }
                Action::SendIn { charge, inside } => {
                    self.add(Some(one.owner), inside, 1)?;
                    self.nodes[one.owner].charge = *charge;
                }
                Action::SendOut { charge, outside } => {
                    self.add(self.around(one.owner), outside, 1)?;
                    self.nodes[one.owner].charge = *charge;
                }
                Action::Dissolve { outside } => {
                    self.add(self.around(one.owner), outside, 1)?;
                    changes.push((one.owner, Change::Dissolve));
                }
                Action::Divide { first, second } => {
                    changes.push((one.owner, Change::Divide { first: first.clone(), second: second.clone() }));
                }
            }
        }
        if changes.is_empty() { Ok(()) } else { self.restructure(&changes) }
    }

    /// A child with a label: the first, or a random one.
    fn target(&self, region: usize, label: usize, random: Option<&mut Random>) -> Option<usize> {
        let mut all = self.children(region).filter(|&child| self.nodes[child].label == label);
        let Some(random) = random else { return all.next() };
        let all: Vec<_> = all.collect();
        let place = random.up_to((all.len() as u64).saturating_sub(1));
        all.get(usize::try_from(place).unwrap_or(0)).copied()
    }
}
