//! Any system is read again as it was printed.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use psystem::{Action, Charge, Membrane, Multiset, Rule, System};

const SYMBOLS: [&str; 5] = ["a", "b{1,2}", "b{-3}", "yes_", "out2"];
const LABELS: [&str; 4] = ["skin", "2", "inner", "4"];

fn charge() -> impl Strategy<Value = Charge> {
    prop_oneof![Just(Charge::Neutral), Just(Charge::Positive), Just(Charge::Negative)]
}

fn objects(fewest: usize) -> impl Strategy<Value = Multiset> {
    btree_map(0..SYMBOLS.len(), 1..=9_u64, fewest..=3).prop_map(|counts| counts.into_iter().collect())
}

fn part() -> impl Strategy<Value = (Charge, Multiset)> {
    (charge(), objects(0))
}

fn action() -> impl Strategy<Value = Action> {
    let into = btree_map(0..LABELS.len(), objects(1), 0..=2);
    prop_oneof![
        (objects(0), objects(0), into, any::<bool>()).prop_map(|(here, out, into, dissolve)| Action::Evolve {
            here,
            out,
            into: into.into_iter().collect(),
            dissolve
        }),
        part().prop_map(|(charge, inside)| Action::SendIn { charge, inside }),
        part().prop_map(|(charge, outside)| Action::SendOut { charge, outside }),
        objects(0).prop_map(|outside| Action::Dissolve { outside }),
        (part(), part()).prop_map(|(first, second)| Action::Divide { first, second }),
    ]
}

/// A rule that the skin may have too, which neither changes nor is sent into.
fn rule() -> impl Strategy<Value = Rule> {
    let priority = option::of(1..=3_u32);
    (0..LABELS.len(), charge(), priority, objects(1), action()).prop_map(|(label, charge, priority, left, action)| {
        let rule = Rule { label, charge, priority, left, action };
        let inner = rule.is_structural() || matches!(rule.action, Action::SendIn { .. });
        Rule { label: if inner { label.max(1) } else { label }, ..rule }
    })
}

/// Preorder: a membrane lies in the one before it, or in one of those around that.
fn membranes(draws: &[(usize, usize, Charge)], contents: &[Multiset]) -> Vec<Membrane> {
    let mut found: Vec<Membrane> = Vec::new();
    // All labels are there, so that every rule has its membrane; those of one label hold the same objects.
    let labels = (0..LABELS.len()).chain(draws.iter().map(|draw| draw.1.max(1)));
    let rest = draws.iter().chain(std::iter::repeat(&draws[0]));
    for (label, (climb, _, charge)) in labels.zip(rest) {
        let mut parent = found.len().checked_sub(1);
        for _ in 0..*climb {
            parent = parent.and_then(|own| found[own].parent).or(parent.map(|_| 0));
        }
        found.push(Membrane { label, charge: *charge, parent, contents: contents[label].clone() });
    }
    found.truncate(LABELS.len() + draws.len());
    found
}

fn system() -> impl Strategy<Value = System> {
    let draws = vec((0..4_usize, 0..LABELS.len(), charge()), 1..6);
    let contents = vec(objects(0), LABELS.len());
    let output = option::of(0..LABELS.len());
    (draws, contents, vec(rule(), 0..8), output, any::<bool>()).prop_map(|(draws, contents, rules, output, named)| {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        System {
            model: if named { "mixed".to_owned() } else { String::new() },
            symbols: names(&SYMBOLS),
            labels: names(&LABELS),
            membranes: membranes(&draws, &contents),
            rules,
            output,
        }
    })
}

/// The system with the numbers that another one has for the same names.
fn renumbered(system: &System, like: &System) -> System {
    let label = |own: usize| like.label(&system.labels[own]).unwrap();
    let objects = |own: &Multiset| {
        let named = own.iter().map(|(symbol, times)| (like.symbol(&system.symbols[*symbol]).unwrap(), *times));
        named.collect::<BTreeMap<_, _>>().into_iter().collect::<Multiset>()
    };
    let part = |(charge, own): &(Charge, Multiset)| (*charge, objects(own));
    let action = |action: &Action| match action {
        Action::Evolve { here, out, into, dissolve } => Action::Evolve {
            here: objects(here),
            out: objects(out),
            into: into.iter().map(|(to, own)| (label(*to), objects(own))).collect(),
            dissolve: *dissolve,
        },
        Action::SendIn { charge, inside } => Action::SendIn { charge: *charge, inside: objects(inside) },
        Action::SendOut { charge, outside } => Action::SendOut { charge: *charge, outside: objects(outside) },
        Action::Dissolve { outside } => Action::Dissolve { outside: objects(outside) },
        Action::Divide { first, second } => Action::Divide { first: part(first), second: part(second) },
    };
    let rule = |rule: &Rule| Rule {
        label: label(rule.label),
        left: objects(&rule.left),
        action: action(&rule.action),
        ..rule.clone()
    };
    let membrane =
        |one: &Membrane| Membrane { label: label(one.label), contents: objects(&one.contents), ..one.clone() };
    System {
        model: system.model.clone(),
        symbols: like.symbols.clone(),
        labels: like.labels.clone(),
        membranes: system.membranes.iter().map(membrane).collect(),
        rules: system.rules.iter().map(rule).collect(),
        output: system.output.map(label),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_system_is_read_as_it_was_printed(system in system()) {
        let printed = system.to_string();
        let again = System::parse(&printed).map_err(|error| TestCaseError::fail(format!("{error}\n{printed}")))?;
        prop_assert_eq!(renumbered(&again, &system), system);
        prop_assert_eq!(again.to_string(), printed);
    }
}
