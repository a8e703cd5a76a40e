//! What holds whatever is asked: nothing is overcommitted, constraints are kept, moves are bounded, answers are repeatable.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;

use placement::{Affinity, Batch, Fleet, GpuSpec, Item, Limits, Move, NodeSpec, Place};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Ask {
    Place(Item),
    Remove(usize),
    Repack(Limits),
    Batch(Vec<Item>, Limits),
    Room(Item, Limits),
}

fn nodes() -> impl Strategy<Value = Vec<NodeSpec>> {
    let gpu = (0..2_u8, 1..=3_u64).prop_map(|(model, size)| GpuSpec {
        model: format!("model{model}"),
        memory_bytes: size * 10,
        compute_milli: 1_000,
    });
    let node = (0..40_u64, 0..40_u64, proptest::collection::vec(gpu, 0..5));
    proptest::collection::vec(node, 1..5).prop_map(|rows| {
        let node = |(at, (cpu_milli, host_bytes, gpus))| NodeSpec { id: format!("n{at}"), cpu_milli, host_bytes, gpus };
        rows.into_iter().enumerate().map(node).collect()
    })
}

fn item() -> impl Strategy<Value = Item> {
    let affinity = prop_oneof![
        3 => Just(Affinity::Any),
        1 => Just(Affinity::Spread("g".to_owned())),
        1 => Just(Affinity::Apart("g".to_owned())),
    ];
    let needs = (0..3_u32, 0..20_u64, 0..800_u32, 0..10_u64, 0..10_u64);
    let rest = (affinity, any::<bool>(), proptest::bool::weighted(0.2), -1..2_i32, 0..100_u64, 0..3_u8);
    (needs, rest).prop_map(|((ranks, memory, compute, cpu_milli, host_bytes), rest)| {
        let (affinity, pinned, surge, priority, reload_ms, model) = rest;
        let models = if model == 2 { vec![] } else { vec![format!("model{model}")] };
        let (memory_bytes, compute_milli) = if ranks == 0 { (0, 0) } else { (memory, compute) };
        let (id, node) = (String::new(), None);
        Item {
            id,
            ranks,
            memory_bytes,
            compute_milli,
            cpu_milli,
            host_bytes,
            models,
            affinity,
            node,
            pinned,
            priority,
            surge,
            reload_ms,
        }
    })
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let limits = (0..4_usize, 0..200_u64, any::<u64>()).prop_map(|(max_moves, max_cost_ms, seed)| Limits {
        max_moves,
        max_cost_ms,
        seed,
    });
    let ask = prop_oneof![
        6 => item().prop_map(Ask::Place),
        2 => any::<usize>().prop_map(Ask::Remove),
        1 => limits.clone().prop_map(Ask::Repack),
        1 => (proptest::collection::vec(item(), 0..4), limits.clone()).prop_map(|(items, limits)| Ask::Batch(items, limits)),
        1 => (item(), limits).prop_map(|(item, limits)| Ask::Room(item, limits)),
    ];
    let numbered = |asks: Vec<Ask>| {
        let name = |at: usize, mut ask: Ask| {
            match &mut ask {
                Ask::Place(item) | Ask::Room(item, _) => item.id = format!("i{at}"),
                Ask::Batch(items, _) => {
                    for (no, item) in items.iter_mut().enumerate() {
                        item.id = format!("i{at}.{no}");
                    }
                }
                Ask::Remove(_) | Ask::Repack(_) => {}
            }
            ask
        };
        asks.into_iter().enumerate().map(|(at, ask)| name(at, ask)).collect()
    };
    proptest::collection::vec(ask, 1..25).prop_map(numbered)
}

type Book = BTreeMap<String, (Item, Place)>;

fn within(moves: &[Move], limits: Limits, book: &Book) {
    assert!(moves.len() <= limits.max_moves);
    assert!(moves.iter().map(|one| one.cost_ms).sum::<u64>() <= limits.max_cost_ms);
    for one in moves {
        assert_eq!(one.cost_ms, book[&one.item].0.reload_ms);
        assert!(!book[&one.item].0.pinned, "a pinned item moved");
    }
}

/// Ask one thing, and keep a book of our own about what the fleet said.
fn ask(fleet: &mut Fleet, book: &mut Book, what: &Ask) {
    match what {
        Ask::Place(item) => {
            if let Some(place) = fleet.place(item).unwrap() {
                book.insert(item.id.clone(), (item.clone(), place));
            }
        }
        Ask::Remove(at) => {
            if let Some(id) = book.keys().nth(at % book.len().max(1)).cloned() {
                fleet.remove(&id).unwrap();
                book.remove(&id);
            }
        }
        Ask::Repack(limits) => {
            let plan = fleet.repack(*limits);
            within(&plan.moves, *limits, book);
            assert_eq!(plan.before_milli, fleet.fragmented_milli() + fleet.stranded_milli());
            fleet.apply(&plan.moves).unwrap();
            assert_eq!(plan.after_milli, fleet.fragmented_milli() + fleet.stranded_milli());
            assert!(plan.after_milli <= plan.before_milli);
        }
        Ask::Batch(items, limits) => {
            let Batch { places, moves } = fleet.place_all(items, *limits).unwrap();
            within(&moves, *limits, book);
            for (item, place) in items.iter().zip(places) {
                if let Some(place) = place {
                    book.insert(item.id.clone(), (item.clone(), place));
                }
            }
        }
        Ask::Room(item, limits) => {
            if let Some((place, moves)) = fleet.make_room(item, *limits).unwrap() {
                within(&moves, *limits, book);
                fleet.apply(&moves).unwrap();
                assert_eq!(fleet.place(item).unwrap().as_ref(), Some(&place));
                book.insert(item.id.clone(), (item.clone(), place));
            }
        }
    }
    for (id, (_, place)) in book.iter_mut() {
        *place = fleet.whereabouts(id).unwrap();
    }
}

/// Add up what lies on each node, from the items alone.
fn check(specs: &[NodeSpec], fleet: &Fleet, book: &Book) {
    assert_eq!(fleet.len(), book.len());
    for spec in specs {
        let here: Vec<_> = book.values().filter(|(_, place)| place.node == spec.id).collect();
        assert!(here.iter().map(|(item, _)| item.cpu_milli).sum::<u64>() <= spec.cpu_milli);
        assert!(here.iter().map(|(item, _)| item.host_bytes).sum::<u64>() <= spec.host_bytes);
        for (number, gpu) in (0_u32..).zip(&spec.gpus) {
            let on: Vec<_> = here.iter().filter(|(_, place)| place.gpus.contains(&number)).collect();
            assert!(on.iter().map(|(item, _)| item.memory_bytes).sum::<u64>() <= gpu.memory_bytes);
            assert!(on.iter().map(|(item, _)| item.compute_milli).sum::<u32>() <= gpu.compute_milli);
        }
        for (item, place) in &here {
            let models: Vec<_> = place.gpus.iter().map(|at| &spec.gpus[*at as usize].model).collect();
            assert_eq!(models.len(), item.ranks as usize);
            assert!(models.windows(2).all(|pair| pair[0] == pair[1]), "ranks on unequal GPUs");
            assert!(item.models.is_empty() || models.iter().all(|model| item.models.contains(model)));
        }
        let apart = here.iter().filter(|(item, _)| matches!(item.affinity, Affinity::Apart(_))).count();
        assert!(apart <= 1, "siblings on one node");
    }
    for (item, _) in book.values().filter(|(item, _)| item.surge) {
        assert!(fleet.has_room(item).unwrap(), "no room for the surge copy of {}", item.id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_fleet_keeps_its_promises(specs in nodes(), expected in proptest::collection::vec(item(), 0..4), asks in asks()) {
        let mut fleet = Fleet::new(&specs).unwrap();
        fleet.expect(&expected, 95).unwrap();
        let (mut twin, mut book, mut other) = (fleet.clone(), Book::new(), Book::new());
        for what in &asks {
            ask(&mut fleet, &mut book, what);
            check(&specs, &fleet, &book);
            ask(&mut twin, &mut other, what);
            prop_assert_eq!(&book, &other);
        }
        let all = fleet.free_milli();
        for id in book.keys() {
            fleet.remove(id).unwrap();
        }
        prop_assert!(fleet.is_empty() && fleet.free_milli() >= all);
        prop_assert_eq!(fleet.free_milli(), Fleet::new(&specs).unwrap().free_milli());
    }

    #[test]
    fn memory_of_what_was_judged_changes_nothing(specs in nodes(), items in proptest::collection::vec(item(), 1..20)) {
        let mut fleet = Fleet::new(&specs).unwrap();
        fleet.expect(&items, 95).unwrap();
        for (at, one) in items.iter().enumerate() {
            let one = Item { id: at.to_string(), ..one.clone() };
            let mut forgetful = fleet.clone();
            forgetful.expect(&items, 95).unwrap();
            prop_assert_eq!(forgetful.place(&one), fleet.place(&one));
        }
    }
}
