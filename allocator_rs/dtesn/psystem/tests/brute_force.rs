//! Random small systems against an enumeration of all maximal multisets of rule instances.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use psystem::{Action, Choice, Configuration, Rule, System};

const OBJECTS: usize = 3;

struct Draw(u64);

impl Draw {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % count
    }

    fn objects(&mut self, most: usize) -> String {
        let names = ["a", "b", "c"];
        let count = self.below(most) + 1;
        (0..count).map(|_| format!("{}*{}", names[self.below(3)], 1 + self.below(2))).collect::<Vec<_>>().join(", ")
    }
}

/// Three membranes in a row or side by side, up to four rules each, with targets and priorities.
fn random_system(seed: u64) -> System {
    let mut draw = Draw(seed);
    let chain = draw.below(2) == 0;
    let mut text = format!("def main() {{ @mu = {};", if chain { "[[[]'3]'2]'1" } else { "[[]'2[]'3]'1" });
    // Name all objects once, so that their numbers are the same in every system.
    text += " @ms(1) = a*0, b*0, c*0;";
    for label in 1..=3 {
        for object in ["a", "b", "c"] {
            write!(text, " @ms({label}) += {object}*{};", draw.below(6)).unwrap();
        }
        let child = match (label, chain) {
            (1, _) => Some(2),
            (2, true) => Some(3),
            _ => None,
        };
        for _ in 0..draw.below(5) {
            let level = match draw.below(3) {
                0 => String::new(),
                level => format!("({level}) "),
            };
            let left = draw.objects(2);
            let right = match (draw.below(5), child) {
                (0, _) => "#".to_owned(),
                (4, _) if label > 1 => format!("{}, @d", draw.objects(1)),
                (1, _) => format!("{}, ({}, out)", draw.objects(2), draw.objects(1)),
                (2, Some(child)) => format!("({}, in {child})", draw.objects(2)),
                _ => draw.objects(2),
            };
            write!(text, " {level}[{left} --> {right}]'{label};").unwrap();
        }
    }
    System::parse(&(text + " }")).unwrap()
}

type Counts = Vec<[u64; OBJECTS]>;

fn counts(configuration: &Configuration) -> Counts {
    (0..3).map(|node| configuration.contents(node).try_into().unwrap()).collect()
}

fn taken(rules: &[(usize, &Rule)], times: &[u64]) -> [u64; OBJECTS] {
    let mut sum = [0; OBJECTS];
    for ((_, rule), times) in rules.iter().zip(times) {
        rule.left.iter().for_each(|(object, each)| sum[*object] += each * times);
    }
    sum
}

/// All k with L'k <= c to which nothing can be added, over the rules that strong priority leaves.
fn all_maximal(rules: &[(usize, &Rule)], have: [u64; OBJECTS]) -> BTreeSet<BTreeMap<usize, u64>> {
    let fits =
        |times: &[u64], rules: &[(usize, &Rule)]| taken(rules, times).iter().zip(have).all(|(need, has)| *need <= has);
    let applicable: Vec<_> = rules.iter().filter(|one| fits(&[1], &[**one])).copied().collect();
    let highest = applicable.iter().filter_map(|(_, rule)| rule.priority).min();
    let left: Vec<_> =
        applicable.into_iter().filter(|(_, rule)| rule.priority.is_none_or(|level| Some(level) == highest)).collect();
    let mut open: Vec<Vec<u64>> = vec![vec![]];
    for _ in &left {
        open = open.iter().flat_map(|times| (0..=10).map(|more| [times.as_slice(), &[more]].concat())).collect();
        open.retain(|times| fits(times, &left));
    }
    open.retain(|times| {
        (0..left.len()).all(|place| {
            let mut more = times.clone();
            more[place] += 1;
            !fits(&more, &left)
        })
    });
    let named = |times: &Vec<u64>| {
        left.iter().zip(times).filter(|(_, times)| **times > 0).map(|((rule, _), times)| (*rule, *times)).collect()
    };
    open.iter().map(named).collect()
}

/// Label, label of the membrane around, and objects of each membrane; and what left the skin.
type Result = (Vec<(usize, usize, [u64; OBJECTS])>, [u64; OBJECTS]);

/// c' = c + M'k, membrane by membrane, and then the dissolution, from the innermost membrane outwards.
fn after(system: &System, before: &Counts, chosen: &[BTreeMap<usize, u64>]) -> Result {
    let (mut next, mut outside, mut gone) = (before.clone(), [0; OBJECTS], [false; 3]);
    for (node, times) in chosen.iter().enumerate() {
        for (rule, times) in times {
            let rule = &system.rules[*rule];
            let Action::Evolve { here, out, into, dissolve } = &rule.action else {
                unreachable!("only these are drawn")
            };
            gone[node] |= dissolve;
            rule.left.iter().for_each(|(object, each)| next[node][*object] -= each * times);
            for (object, each) in here {
                next[node][*object] += each * times;
            }
            let above = system.membranes[node].parent;
            for (object, each) in out {
                *above.map_or(&mut outside[*object], |above| &mut next[above][*object]) += each * times;
            }
            for (label, objects) in into {
                let child = system.membranes.iter().position(|membrane| membrane.label == *label).unwrap();
                for (object, each) in objects {
                    next[child][*object] += each * times;
                }
            }
        }
    }
    for node in (1..3).rev().filter(|node| gone[*node]) {
        let (above, own) = (system.membranes[node].parent.unwrap(), next[node]);
        next[above].iter_mut().zip(own).for_each(|(count, more)| *count += more);
    }
    let around = |node: usize| {
        let mut above = system.membranes[node].parent.unwrap_or(0);
        while gone[above] {
            above = system.membranes[above].parent.unwrap();
        }
        system.membranes[above].label
    };
    let left = (0..3).filter(|node| !gone[*node]);
    (left.map(|node| (system.membranes[node].label, around(node), next[node])).collect(), outside)
}

fn result(configuration: &Configuration) -> Result {
    let nodes = configuration.nodes();
    let row = |node: usize| {
        (nodes[node].label, nodes[nodes[node].parent].label, configuration.contents(node).try_into().unwrap())
    };
    ((0..nodes.len()).map(row).collect(), configuration.environment().try_into().unwrap())
}

#[test]
fn a_thousand_random_systems_agree() {
    let (mut several, mut dissolved) = (0, 0);
    for seed in 0..1000 {
        let system = Arc::new(random_system(seed));
        let start = Configuration::new(Arc::clone(&system));
        let before = counts(&start);
        let possible: Vec<_> = (0..3)
            .map(|node| {
                let label = system.membranes[node].label;
                let rules: Vec<_> = system.rules.iter().enumerate().filter(|(_, rule)| rule.label == label).collect();
                all_maximal(&rules, before[node])
            })
            .collect();
        several += usize::from(possible.iter().any(|all| all.len() > 1));
        let choices = [Choice::InOrder].into_iter().chain((0..12).map(Choice::Random));
        for mut choice in choices {
            let mut configuration = start.clone();
            let applied = configuration.step(&mut choice).unwrap();
            let mut chosen = vec![BTreeMap::new(); 3];
            for one in applied {
                let node = start.nodes().iter().position(|node| node.id == one.membrane).unwrap();
                assert!(chosen[node].insert(one.rule, one.times).is_none());
            }
            for node in 0..3 {
                assert!(possible[node].contains(&chosen[node]), "system {seed}, membrane {node}: {chosen:?}");
            }
            let expected = after(&system, &before, &chosen);
            assert_eq!(result(&configuration), expected, "system {seed}");
            dissolved += usize::from(expected.0.len() < 3);
        }
    }
    assert!(several > 300, "only {several} systems left a choice");
    assert!(dissolved > 1000, "only {dissolved} steps dissolved a membrane");
    println!("1000 systems, {several} with a choice, 13000 steps, {dissolved} with a dissolution");
}

#[test]
fn every_maximal_multiset_comes() {
    let text = "def main() { @mu = []'1; @ms(1) = a*4, b*3; [a, b --> #]'1; [a*2 --> #]'1; [b --> #]'1; }";
    let system = Arc::new(System::parse(text).unwrap());
    let rules: Vec<_> = system.rules.iter().enumerate().collect();
    let possible = all_maximal(&rules, [4, 3, 0]);
    let mut met = BTreeSet::new();
    for seed in 0..2000 {
        let applied = Configuration::new(Arc::clone(&system)).step(&mut Choice::Random(seed)).unwrap();
        met.insert(applied.iter().map(|one| (one.rule, one.times)).collect::<BTreeMap<_, _>>());
    }
    assert_eq!(met, possible);
}
