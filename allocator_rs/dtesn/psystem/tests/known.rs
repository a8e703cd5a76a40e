//! Systems whose answers are known.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;

use psystem::{Choice, Configuration, MAX_STEPS, System, SystemError};

fn start(text: &str) -> Configuration {
    Configuration::new(Arc::new(System::parse(text).unwrap()))
}

/// A system of one or more membranes in the shorthand of these tests.
fn system(body: &str) -> Configuration {
    start(&format!("@model<transition_psystem> def main() {{ {body} }}"))
}

fn count(configuration: &Configuration, label: &str, object: &str) -> u64 {
    let system = configuration.system();
    let (label, object) = (system.label(label), system.symbol(object).unwrap());
    let nodes = configuration.nodes().iter().enumerate();
    nodes.filter(|(_, node)| Some(node.label) == label).map(|(place, _)| configuration.contents(place)[object]).sum()
}

/// Paun, "Computing with membranes" (2000): membrane 3 decides when to stop, membrane 2 counts.
const SQUARES: &str = "
    @mu = [[[]'3 []'4]'2]'1;
    @ms(3) = a, f;
    [a --> a, b]'3;
    [a --> b, @d]'3;
    [f --> f*2]'3;
    [b --> d]'2;
    [d --> d, (e, in 4)]'2;
    (1) [f*2 --> f]'2;
    (2) [f --> @d]'2;";

#[test]
fn n_steps_give_n_squared_objects() {
    let mut seen = BTreeSet::new();
    for seed in 0..300 {
        let mut configuration = system(SQUARES);
        let mut choice = Choice::Random(seed);
        let steps = configuration.run(&mut choice, 1000).unwrap();
        let n = (steps - 1) / 2;
        assert_eq!(steps, 2 * n + 1);
        assert_eq!(count(&configuration, "4", "e"), n * n);
        assert_eq!(configuration.nodes().len(), 2);
        seen.insert(n);
    }
    assert!(seen.contains(&1) && seen.len() >= 6, "{seen:?}");
}

#[test]
fn doubling_counts_powers_of_two_up_to_the_last_bit() {
    let mut configuration = system("@mu = []'1; @ms(1) = a; [a --> a*2]'1;");
    for step in 1..64 {
        configuration.step(&mut Choice::InOrder).unwrap();
        assert_eq!(count(&configuration, "1", "a"), 1 << step);
    }
    let refused = configuration.step(&mut Choice::InOrder);
    assert_eq!(refused, Err(SystemError::Overflow { symbol: "a".to_owned() }));
    assert_eq!(count(&configuration, "1", "a"), 1 << 63);
}

#[test]
fn annihilation_leaves_the_difference() {
    for (a, b) in [(0, 0), (5, 0), (7, 12), (1_000_000_007, 998_244_353)] {
        for choice in [Choice::InOrder, Choice::Random(a)] {
            let text = format!("@mu = []'1; @ms(1) = a*{a}, b*{b}; [a, b --> #]'1;");
            let mut configuration = system(&text);
            let steps = configuration.run(&mut choice.clone(), 2).unwrap();
            assert_eq!(steps, u64::from(a.min(b) > 0));
            let left = count(&configuration, "1", "a") + count(&configuration, "1", "b");
            assert_eq!(left, a.abs_diff(b));
        }
    }
}

#[test]
fn strong_priority_leaves_objects_alone() {
    // One a is left over by the higher rule; the lower one may not have it before the next step.
    let mut configuration = system("@mu = []'1; @ms(1) = a*5; (1) [a*2 --> b]'1; (2) [a --> c]'1;");
    configuration.step(&mut Choice::InOrder).unwrap();
    assert_eq!(["a", "b", "c"].map(|object| count(&configuration, "1", object)), [1, 2, 0]);
    configuration.step(&mut Choice::InOrder).unwrap();
    assert_eq!(["a", "b", "c"].map(|object| count(&configuration, "1", object)), [0, 2, 1]);
}

#[test]
fn nested_membranes_dissolve_in_one_step() {
    let mut configuration = system(
        "@mu = [[[[]'4]'3]'2]'1; @ms(2) = x; @ms(3) = x, y*3; @ms(4) = z;
         [x --> @d]'2; [x --> (w, out), @d]'3;",
    );
    configuration.step(&mut Choice::InOrder).unwrap();
    assert_eq!(configuration.nodes().len(), 2);
    assert_eq!(["w", "y", "x"].map(|object| count(&configuration, "1", object)), [1, 3, 0]);
    assert_eq!(count(&configuration, "4", "z"), 1);
}

#[test]
fn division_doubles_what_is_inside() {
    let mut configuration =
        start("def main() { @mu = [[[]'3]'2]'1; @ms(2) = s, k; @ms(3) = m; [s]'2 --> [p]'2 [q]'2; }");
    configuration.step(&mut Choice::InOrder).unwrap();
    let labels: Vec<_> =
        configuration.nodes().iter().map(|node| configuration.system().labels[node.label].clone()).collect();
    assert_eq!(labels, ["1", "2", "3", "2", "3"]);
    assert_eq!(["p", "q", "k", "s"].map(|object| count(&configuration, "2", object)), [1, 1, 2, 0]);
    let ids: BTreeSet<_> = configuration.nodes().iter().map(|node| node.id).collect();
    assert_eq!(ids.len(), 5);
}

#[test]
fn sat_by_division_says_yes() {
    let mut configuration = start(include_str!("data/sat.pli"));
    configuration.run(&mut Choice::InOrder, 1000).unwrap();
    let system = Arc::clone(configuration.system());
    let outside = |object| configuration.environment()[system.symbol(object).unwrap()];
    assert_eq!((outside("Yes"), outside("No")), (1, 0));
}

/// Clauses of at most 3 variables, from a number.
fn formula(mut number: u64, clauses: usize, variables: usize) -> Vec<Vec<(usize, bool)>> {
    let mut draw = |most: usize| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(number >> 33).unwrap() % most
    };
    let mut clause = || (0..=draw(2)).map(|_| (1 + draw(variables), draw(2) == 0)).collect::<BTreeSet<_>>();
    (0..clauses).map(|_| clause().into_iter().collect()).collect()
}

#[test]
fn sat_agrees_with_brute_force() {
    let family = include_str!("data/sat.pli");
    let family = &family[..family.find("def main").unwrap()];
    let mut answers = [0; 2];
    for number in 0..40 {
        let (clauses, variables) = (3 + usize::try_from(number % 4).unwrap(), 2 + usize::try_from(number % 3).unwrap());
        let formula = formula(number, clauses, variables);
        let literal = |clause: usize, variable: usize, positive: bool| {
            format!("{}x{{{},{variable}}}", if positive { "" } else { "n" }, clause + 1)
        };
        let input: Vec<_> = formula
            .iter()
            .enumerate()
            .flat_map(|(number, clause)| {
                clause.iter().map(move |(variable, positive)| literal(number, *variable, *positive))
            })
            .collect();
        let input = input.join(", ");
        let mut configuration =
            start(&format!("{family} def main() {{ call Sat({clauses},{variables}); @ms(2) += {input}; }}"));
        configuration.run(&mut Choice::InOrder, 1000).unwrap();
        let system = Arc::clone(configuration.system());
        let outside = |object| configuration.environment()[system.symbol(object).unwrap()];
        let truth = (0..1_u32 << variables).any(|values| {
            formula.iter().all(|clause| clause.iter().any(|(v, positive)| (values >> (v - 1) & 1 == 1) == *positive))
        });
        assert_eq!((outside("Yes"), outside("No")), (u64::from(truth), u64::from(!truth)), "{input}");
        answers[usize::from(truth)] += 1;
    }
    assert!(answers.iter().all(|times| *times >= 5), "{answers:?}");
}

#[test]
fn the_result_is_what_the_output_membrane_holds() {
    let mut squares = system(&SQUARES.replace("@ms(3)", "@mout = 4; @ms(3)"));
    assert_eq!(squares.result(), Err(SystemError::Running));
    squares.run(&mut Choice::Random(1), 1000).unwrap();
    let named = squares.result().unwrap().unwrap();
    assert!(squares.halted());
    assert_eq!(named[squares.system().symbol("e").unwrap()], count(&squares, "4", "e"));
    assert_eq!(named.iter().sum::<u64>(), count(&squares, "4", "e"));
    // Membrane 2 has dissolved: the computation has no result. And nothing left the skin.
    let mut gone = system(&SQUARES.replace("@ms(3)", "@mout = 2; @ms(3)"));
    gone.run(&mut Choice::Random(1), 1000).unwrap();
    assert_eq!(gone.result(), Ok(None));
    let mut outside = system(SQUARES);
    outside.run(&mut Choice::Random(1), 1000).unwrap();
    assert_eq!(outside.result().unwrap().unwrap(), outside.environment());
    // A division's copies count together, and more than 64 bits are an error.
    let text = |contents: &str| format!("@mu = [[]'2]'1; @mout = 2; @ms(2) = a, {contents}; [a]'2 --> [c]'2 [c]'2;");
    let mut divided = system(&text("b*3"));
    divided.run(&mut Choice::InOrder, 10).unwrap();
    let found = divided.result().unwrap().unwrap();
    assert_eq!((found[divided.system().symbol("b").unwrap()], found[divided.system().symbol("c").unwrap()]), (6, 2));
    let mut many = system(&(text("d*2") + &format!("[d --> b*{}]'2;", 1_u64 << 62)));
    many.run(&mut Choice::InOrder, 10).unwrap();
    assert_eq!(many.result(), Err(SystemError::Overflow { symbol: "b".to_owned() }));
}

#[test]
fn what_never_halts_is_stopped() {
    let mut configuration = system("@mu = []'1; @ms(1) = a; [a --> a]'1;");
    assert_eq!(configuration.run(&mut Choice::InOrder, 500), Err(SystemError::NotHalted { steps: 500 }));
    let endless = configuration.run(&mut Choice::InOrder, u64::MAX);
    assert_eq!(endless, Err(SystemError::NotHalted { steps: MAX_STEPS }));
    let mut dividing = start("def main() { @mu = [[]'2]'1; @ms(2) = a; [a]'2 --> [a]'2 [a]'2; }");
    let refused = dividing.run(&mut Choice::InOrder, 100);
    assert!(matches!(refused, Err(SystemError::TooManyMembranes { .. })));
}

#[test]
fn objects_enter_by_the_membranes_id() {
    let mut configuration = system("@mu = [[]'2]'1; [a --> (a, out)]'2;");
    let id = configuration.nodes()[1].id;
    configuration.insert(id, 0, 4).unwrap();
    configuration.step(&mut Choice::InOrder).unwrap();
    assert_eq!(count(&configuration, "1", "a"), 4);
    assert!(matches!(configuration.insert(99, 0, 1), Err(SystemError::Unknown { .. })));
    assert!(matches!(configuration.insert(id, 7, 1), Err(SystemError::Unknown { .. })));
    configuration.insert(id, 0, u64::MAX).unwrap();
    assert!(matches!(configuration.insert(id, 0, 1), Err(SystemError::Overflow { .. })));
}
