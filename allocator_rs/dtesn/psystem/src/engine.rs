//! The maximal parallel step.

use std::sync::Arc;

use random::Random;

use crate::configuration::Configuration;
use crate::error::SystemError;
use crate::model::{Action, Multiset, Rule, System};
use crate::structure::Change;

/// A run makes no more steps, whatever its caller allows: a rule that never halts must not take the machine with it.
pub const MAX_STEPS: u64 = 1_000_000;

/// Which of several maximal multisets is taken.
#[derive(Debug, Clone)]
pub enum Choice {
    /// In the order of the rules, each as often as possible.
    InOrder,
    /// A random one; every maximal multiset can come.
    Random(u64),
}

impl Choice {
    /// What decides in one step.
    const fn next(&mut self) -> Option<Random> {
        match self {
            Self::InOrder => None,
            Self::Random(seed) => {
                let mut random = Random::new(*seed);
                *seed = random.up_to(u64::MAX);
                Some(random)
            }
        }
    }
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

/// A rule that may be applied: to `owner`, taking objects of the region in work.
#[derive(Clone, Copy)]
struct Candidate {
    rule: usize,
    owner: usize,
}

/// Instances that were chosen.
struct Chosen {
    rule: usize,
    owner: usize,
    times: u64,
}

/// A step in work.
struct Turn {
    system: Arc<System>,
    /// Membranes whose one rule a step is taken.
    used: Vec<bool>,
    chosen: Vec<Chosen>,
    random: Option<Random>,
}

impl Configuration {
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
    /// [`SystemError::NotHalted`] after `limit` steps or [`MAX_STEPS`], and what [`Configuration::step`] has.
    pub fn run(&mut self, choice: &mut Choice, limit: u64) -> Result<u64, SystemError> {
        let limit = limit.min(MAX_STEPS);
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

    /// Whether no rule can be applied.
    #[must_use]
    pub fn halted(&self) -> bool {
        let (used, mut candidates) = (vec![false; self.nodes.len()], Vec::new());
        (0..self.nodes.len()).all(|region| {
            self.candidates(region, &used, &mut candidates);
            candidates.is_empty()
        })
    }

    fn advance(&mut self, choice: &mut Choice) -> Result<Vec<Applied>, SystemError> {
        let mut turn = Turn {
            system: Arc::clone(&self.system),
            used: vec![false; self.nodes.len()],
            chosen: Vec::new(),
            random: choice.next(),
        };
        let mut candidates = Vec::new();
        for region in 0..self.nodes.len() {
            self.candidates(region, &turn.used, &mut candidates);
            self.choose(region, &mut candidates, &mut turn);
        }
        let name = |one: &Chosen| Applied { membrane: self.nodes[one.owner].id, rule: one.rule, times: one.times };
        let applied = turn.chosen.iter().map(name).collect();
        self.apply(turn)?;
        Ok(applied)
    }

    /// Rules that could be applied in a region by themselves, less those that a higher priority blocks.
    fn candidates(&self, region: usize, used: &[bool], out: &mut Vec<Candidate>) {
        out.clear();
        self.of_owner(region, region, used, out);
        if self.index.any_send_in {
            self.children(region).for_each(|owner| self.of_owner(region, owner, used, out));
        }
    }

    /// The region's own rules, or those by which a child takes objects of the region.
    fn of_owner(&self, region: usize, owner: usize, used: &[bool], out: &mut Vec<Candidate>) {
        let by_label = if owner == region { &self.index.own } else { &self.index.send_in };
        let start = out.len();
        let mut highest = u32::MAX;
        for &rule in &by_label[self.nodes[owner].label] {
            let found = &self.system.rules[rule];
            if self.fits(found, region, owner, used) {
                highest = highest.min(found.priority.unwrap_or(u32::MAX));
                out.push(Candidate { rule, owner });
            }
        }
        let mut kept = start;
        for place in start..out.len() {
            if self.system.rules[out[place].rule].priority.is_none_or(|level| level <= highest) {
                out[kept] = out[place];
                kept += 1;
            }
        }
        out.truncate(kept);
    }

    fn fits(&self, rule: &Rule, region: usize, owner: usize, used: &[bool]) -> bool {
        rule.charge == self.nodes[owner].charge
            && !(rule.is_single() && used[owner])
            && !(rule.is_structural() && owner == 0)
            && self.instances(region, rule) > 0
            && self.has_targets(region, rule)
    }

    fn choose(&mut self, region: usize, candidates: &mut [Candidate], turn: &mut Turn) {
        let start = turn.chosen.len();
        if let Some(mut random) = turn.random.take() {
            random.shuffle(candidates);
            for &one in candidates.iter() {
                let times = random.up_to(self.most(region, one, turn));
                self.take(region, one, times, turn);
            }
            turn.random = Some(random);
        }
        for &one in candidates.iter() {
            let most = self.most(region, one, turn);
            let known =
                turn.chosen[start..].iter().position(|other| other.rule == one.rule && other.owner == one.owner);
            if let (Some(place), true) = (known, most > 0) {
                turn.chosen[start + place].times += most;
                self.consume(region, &turn.system.rules[one.rule].left, most);
            } else {
                self.take(region, one, most, turn);
            }
        }
    }

    fn most(&self, region: usize, one: Candidate, turn: &Turn) -> u64 {
        let rule = &turn.system.rules[one.rule];
        let most = self.instances(region, rule);
        if rule.is_single() { most.min(u64::from(!turn.used[one.owner])) } else { most }
    }

    fn take(&mut self, region: usize, one: Candidate, times: u64, turn: &mut Turn) {
        if times == 0 {
            return;
        }
        let rule = &turn.system.rules[one.rule];
        turn.used[one.owner] |= rule.is_single();
        self.consume(region, &rule.left, times);
        turn.chosen.push(Chosen { rule: one.rule, owner: one.owner, times });
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

    fn consume(&mut self, region: usize, left: &Multiset, times: u64) {
        let start = region * self.width();
        for (symbol, each) in left {
            self.counts[start + symbol] -= each * times;
        }
    }

    fn apply(&mut self, turn: Turn) -> Result<(), SystemError> {
        let Turn { system, chosen, mut random, .. } = turn;
        let mut changes: Vec<(usize, Change)> = Vec::new();
        for Chosen { rule, owner, times } in chosen {
            match &system.rules[rule].action {
                Action::Evolve { here, out, into, dissolve } => {
                    self.add(Some(owner), here, times)?;
                    self.add(self.around(owner), out, times)?;
                    for (label, products) in into {
                        let child = self.target(owner, *label, random.as_mut());
                        self.add(child, products, times)?;
                    }
                    if *dissolve {
                        changes.push((owner, Change::Dissolve));
                    }
                }
                Action::SendIn { charge, inside } => {
                    self.add(Some(owner), inside, 1)?;
                    self.nodes[owner].charge = *charge;
                }
                Action::SendOut { charge, outside } => {
                    self.add(self.around(owner), outside, 1)?;
                    self.nodes[owner].charge = *charge;
                }
                Action::Dissolve { outside } => {
                    self.add(self.around(owner), outside, 1)?;
                    changes.push((owner, Change::Dissolve));
                }
                Action::Divide { first, second } => {
                    changes.push((owner, Change::Divide { first: first.clone(), second: second.clone() }));
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
