//! Arrivals, constraints and moves, on small fleets.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use placement::{Affinity, Batch, Fleet, GpuSpec, Item, Limits, NodeSpec, Place, PlacementError};

const GIB: u64 = 1 << 30;
const LIMITS: Limits = Limits { max_moves: 8, max_cost_ms: u64::MAX, seed: 1 };

fn node(id: &str, models: &[&str]) -> NodeSpec {
    let gpu = |model: &&str| GpuSpec { model: (*model).to_owned(), memory_bytes: 80 * GIB, compute_milli: 1_000 };
    NodeSpec { id: id.to_owned(), cpu_milli: 64_000, host_bytes: 512 * GIB, gpus: models.iter().map(gpu).collect() }
}

fn item(id: &str, ranks: u32, gib: u64) -> Item {
    Item { id: id.to_owned(), ranks, memory_bytes: gib * GIB, cpu_milli: 1_000, reload_ms: 1_000, ..Item::default() }
}

fn at(node: &str, gpus: &[u32]) -> Place {
    Place { node: node.to_owned(), gpus: gpus.to_vec() }
}

fn fleet(nodes: &[NodeSpec], expected: &[Item]) -> Fleet {
    let mut fleet = Fleet::new(nodes).unwrap();
    fleet.expect(expected, 100).unwrap();
    fleet
}

#[test]
fn ranks_lie_on_one_node_and_on_equal_gpus() {
    let mut fleet = fleet(&[node("mixed", &["A", "B", "A"]), node("same", &["B", "B", "B", "B"])], &[]);
    assert_eq!(fleet.place(&item("two", 2, 70)).unwrap(), Some(at("mixed", &[0, 2])));
    assert_eq!(fleet.place(&item("four", 4, 70)).unwrap(), Some(at("same", &[0, 1, 2, 3])));
    assert_eq!(fleet.place(&item("again", 2, 70)).unwrap(), None);
}

#[test]
fn a_model_that_is_asked_for_is_the_one_that_is_given() {
    let mut fleet = fleet(&[node("n", &["A", "B"])], &[]);
    let only = Item { models: vec!["B".to_owned()], ..item("b", 1, 10) };
    assert_eq!(fleet.place(&only).unwrap(), Some(at("n", &[1])));
    let none = Item { models: vec!["C".to_owned()], ..item("c", 1, 10) };
    assert_eq!(fleet.place(&none).unwrap(), None);
}

#[test]
fn every_dimension_is_enforced() {
    let small = || fleet(&[node("n", &["A"])], &[]);
    assert!(small().place(&item("fits", 1, 80)).unwrap().is_some());
    for too_much in [
        item("memory", 1, 81),
        Item { compute_milli: 1_001, ..item("compute", 1, 1) },
        Item { cpu_milli: 64_001, ..item("cpu", 0, 0) },
        Item { host_bytes: 512 * GIB + 1, ..item("host", 0, 0) },
    ] {
        assert_eq!(small().place(&too_much).unwrap(), None, "{}", too_much.id);
    }
}

#[test]
fn a_small_item_goes_where_a_large_one_would_not_fit_any_more() {
    let nodes = [node("empty", &["A"]), node("begun", &["A"])];
    let mut fleet = fleet(&nodes, &[item("", 1, 60), item("", 1, 20)]);
    fleet.put(&item("there", 1, 50), &at("begun", &[0])).unwrap();
    assert_eq!(fleet.place(&item("small", 1, 20)).unwrap(), Some(at("begun", &[0])));
}

#[test]
fn gpu_capacity_is_not_cut_off_from_its_host() {
    let nodes = [NodeSpec { cpu_milli: 8_000, ..node("few cores", &["A", "A"]) }, node("many cores", &["A", "A"])];
    let mut fleet = fleet(&nodes, &[]);
    let hungry = Item { cpu_milli: 8_000, ..item("hungry", 1, 70) };
    assert_eq!(fleet.place(&hungry).unwrap(), Some(at("many cores", &[0])));
}

#[test]
fn replicas_stay_apart_or_spread() {
    let group = || "m/v1".to_owned();
    let mut fleet = fleet(&[node("a", &["A", "A"]), node("b", &["A", "A"])], &[]);
    let apart = |id: &str| Item { affinity: Affinity::Apart(group()), ..item(id, 1, 10) };
    let first = fleet.place(&apart("1")).unwrap().unwrap();
    let second = fleet.place(&apart("2")).unwrap().unwrap();
    assert_ne!(first.node, second.node);
    assert_eq!(fleet.place(&apart("3")).unwrap(), None);
    let spread = Item { affinity: Affinity::Spread(group()), ..item("4", 1, 10) };
    assert!(fleet.place(&spread).unwrap().is_some());
}

#[test]
fn an_item_may_be_bound_to_a_node() {
    let mut fleet = fleet(&[node("a", &["A"]), node("b", &["A"])], &[]);
    let bound = Item { node: Some("b".to_owned()), ..item("1", 1, 10) };
    assert_eq!(fleet.place(&bound).unwrap(), Some(at("b", &[0])));
    let lost = Item { node: Some("z".to_owned()), ..item("2", 1, 10) };
    assert_eq!(fleet.place(&lost), Err(PlacementError::NodeUnknown { id: "z".to_owned() }));
}

#[test]
fn room_for_a_surge_copy_is_kept() {
    let surging = |id: &str| Item { surge: true, ..item(id, 1, 60) };
    let mut fleet = fleet(&[node("a", &["A"]), node("b", &["A"])], &[]);
    assert!(fleet.place(&surging("1")).unwrap().is_some());
    assert_eq!(fleet.place(&surging("2")).unwrap(), None, "its own copy would have no room");
    assert_eq!(fleet.place(&item("3", 1, 60)).unwrap(), None, "the room is for the copy of the first");
    assert!(fleet.place(&item("4", 1, 20)).unwrap().is_some());
    fleet.remove("1").unwrap();
    assert!(fleet.place(&item("3", 1, 60)).unwrap().is_some());
}

#[test]
fn a_repack_makes_room_that_was_in_pieces() {
    let nodes = [node("a", &["A"]), node("b", &["A"])];
    let mut fleet = fleet(&nodes, &[item("", 1, 80)]);
    fleet.put(&item("1", 1, 30), &at("a", &[0])).unwrap();
    fleet.put(&item("2", 1, 30), &at("b", &[0])).unwrap();
    let plan = fleet.repack(LIMITS);
    assert_eq!((plan.moves.len(), plan.moves[0].cost_ms), (1, 1_000));
    assert!(plan.after_milli < plan.before_milli);
    fleet.apply(&plan.moves).unwrap();
    assert!(fleet.place(&item("whole", 1, 80)).unwrap().is_some());
    assert_eq!(
        fleet.apply(&plan.moves),
        Err(PlacementError::PlaceInvalid { id: plan.moves[0].item.clone(), node: plan.moves[0].from.node.clone() })
    );
}

#[test]
fn a_repack_keeps_within_its_limits_and_moves_nothing_pinned() {
    let nodes = [node("a", &["A"]), node("b", &["A"])];
    let pinned = |id: &str| Item { pinned: true, ..item(id, 1, 30) };
    let mut fleet = fleet(&nodes, &[item("", 1, 80)]);
    fleet.put(&pinned("1"), &at("a", &[0])).unwrap();
    fleet.put(&pinned("2"), &at("b", &[0])).unwrap();
    assert!(fleet.repack(LIMITS).moves.is_empty());
    fleet.remove("2").unwrap();
    fleet.put(&item("2", 1, 30), &at("b", &[0])).unwrap();
    assert!(fleet.repack(Limits { max_moves: 0, ..LIMITS }).moves.is_empty());
    assert!(fleet.repack(Limits { max_cost_ms: 999, ..LIMITS }).moves.is_empty());
    assert_eq!(fleet.repack(LIMITS).moves.len(), 1);
}

#[test]
fn room_is_made_by_the_cheapest_moves() {
    let nodes = [node("a", &["A"]), node("b", &["A"])];
    let mut fleet = fleet(&nodes, &[]);
    fleet.put(&Item { reload_ms: 9_000, ..item("slow", 1, 30) }, &at("a", &[0])).unwrap();
    fleet.put(&item("quick", 1, 30), &at("b", &[0])).unwrap();
    let wanted = item("whole", 1, 80);
    let (place, moves) = fleet.make_room(&wanted, LIMITS).unwrap().unwrap();
    assert_eq!((place, moves.len(), moves[0].item.as_str()), (at("b", &[0]), 1, "quick"));
    assert_eq!(fleet.make_room(&wanted, Limits { max_cost_ms: 1, ..LIMITS }).unwrap(), None);
    let Batch { places, moves: made } = fleet.place_all(&[wanted], LIMITS).unwrap();
    assert_eq!((places, made), (vec![Some(at("b", &[0]))], moves));
}

#[test]
fn victims_are_of_lower_priority_and_the_cheapest() {
    let mut fleet = fleet(&[node("a", &["A"]), node("b", &["A"])], &[]);
    fleet.put(&Item { pinned: true, ..item("pinned", 1, 70) }, &at("a", &[0])).unwrap();
    fleet.put(&item("1", 1, 30), &at("b", &[0])).unwrap();
    fleet.put(&Item { reload_ms: 500, ..item("2", 1, 30) }, &at("b", &[0])).unwrap();
    let important = |gib| Item { priority: 5, ..item("important", 1, gib) };
    let found = fleet.find_preemption(&important(50)).unwrap().unwrap();
    assert_eq!((found.node.as_str(), found.items, found.cost_ms), ("b", vec!["2".to_owned()], 500));
    assert_eq!(fleet.find_preemption(&important(80)).unwrap().unwrap().items, ["2", "1"]);
    assert_eq!(fleet.find_preemption(&important(5)).unwrap(), None, "it has room without");
    assert_eq!(fleet.find_preemption(&item("equal", 1, 50)).unwrap(), None);
}

#[test]
fn a_batch_places_the_important_and_the_large_first() {
    let mut fleet = fleet(&[node("a", &["A"])], &[]);
    let batch = [item("small", 1, 30), item("large", 1, 60), Item { priority: 1, ..item("first", 1, 20) }];
    let Batch { places, moves } = fleet.place_all(&batch, LIMITS).unwrap();
    assert_eq!(places, [None, Some(at("a", &[0])), Some(at("a", &[0]))]);
    assert!(moves.is_empty());
}

#[test]
fn nonsense_is_refused() {
    assert!(matches!(Fleet::new(&[node("a", &[]), node("a", &[])]), Err(PlacementError::NodeDuplicate { .. })));
    assert!(matches!(Fleet::new(&[node("a", &["A"; 33])]), Err(PlacementError::NodeInvalid { .. })));
    let models: Vec<String> = (0..65).map(|number| number.to_string()).collect();
    let many: Vec<NodeSpec> = models.iter().map(|model| node(model, &[model])).collect();
    assert!(matches!(Fleet::new(&many), Err(PlacementError::NodeInvalid { .. })));
    let mut fleet = fleet(&[node("a", &["A", "B"])], &[]);
    assert!(matches!(fleet.place(&item("1", 33, 1)), Err(PlacementError::ItemInvalid { .. })));
    assert!(matches!(fleet.place(&item("1", 0, 1)), Err(PlacementError::ItemInvalid { .. })));
    assert!(matches!(
        fleet.place(&Item { cpu_milli: u64::MAX, ..item("1", 1, 1) }),
        Err(PlacementError::ItemInvalid { .. })
    ));
    assert!(fleet.place(&item("1", 1, 1)).unwrap().is_some());
    assert!(matches!(fleet.place(&item("1", 1, 1)), Err(PlacementError::ItemDuplicate { .. })));
    assert!(matches!(fleet.remove("2"), Err(PlacementError::ItemUnknown { .. })));
    for gpus in [&[][..], &[0, 0], &[9], &[40], &[0, 1]] {
        let found =
            fleet.put(&Item { memory_bytes: 0, ..item("2", gpus.len().try_into().unwrap(), 0) }, &at("a", gpus));
        assert_eq!(found.is_err(), !gpus.is_empty(), "{gpus:?}: {found:?}");
        fleet.remove("2").ok();
    }
}
