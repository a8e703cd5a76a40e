//! Known counts, exact identities, ranks, and bad sequences.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by panicking")]

use std::collections::BTreeSet;

use trees::{MAX_ORDER, Tree, TreeError, all, count, from_rank, random, rank};

/// The On-Line Encyclopedia of Integer Sequences, A000081.
const COUNTS: [u128; 12] = [1, 1, 2, 4, 9, 20, 48, 115, 286, 719, 1842, 4766];

fn factorial(number: usize) -> u128 {
    (1..=number as u128).product()
}

#[test]
fn as_many_trees_are_generated_as_are_counted() {
    for (order, expected) in (1..).zip(COUNTS) {
        let trees: BTreeSet<_> = all(order).unwrap().collect();
        assert_eq!(trees.len() as u128, expected);
        assert_eq!(count(order).unwrap(), expected);
    }
}

#[test]
fn generated_sequences_are_canonical_and_fall() {
    let trees: Vec<_> = all(9).unwrap().collect();
    assert!(trees.windows(2).all(|pair| pair[0] > pair[1]));
    for tree in &trees {
        assert_eq!(Tree::new(tree.levels()).as_ref(), Ok(tree));
    }
}

#[test]
fn both_identities_hold_exactly() {
    for order in 1..=12 {
        let (mut heap, mut labelled) = (0, 0);
        for tree in all(order).unwrap() {
            let (symmetry, density) = (tree.symmetry().unwrap(), tree.density().unwrap());
            assert_eq!(factorial(order) % (symmetry * density), 0);
            heap += factorial(order) / (symmetry * density);
            labelled += factorial(order) / symmetry;
        }
        assert_eq!(heap, factorial(order - 1));
        assert_eq!(labelled, (order as u128).pow(u32::try_from(order - 1).unwrap()));
    }
}

#[test]
fn symmetry_and_density_of_known_trees() {
    // Hairer, Lubich, Wanner, "Geometric Numerical Integration", table III.1.1.
    for (levels, symmetry, density) in [
        (vec![1], 1, 1),
        (vec![1, 2], 1, 2),
        (vec![1, 2, 2], 2, 3),
        (vec![1, 2, 3], 1, 6),
        (vec![1, 2, 2, 2], 6, 4),
        (vec![1, 2, 3, 2], 1, 8),
        (vec![1, 2, 3, 3], 2, 12),
        (vec![1, 2, 3, 4], 1, 24),
    ] {
        let tree = Tree::new(&levels).unwrap();
        assert_eq!((tree.symmetry().unwrap(), tree.density().unwrap()), (symmetry, density));
    }
}

#[test]
fn ranks_are_a_bijection() {
    for order in 1..=10 {
        let total = count(order).unwrap();
        let ranks: BTreeSet<_> = all(order).unwrap().map(|tree| rank(&tree).unwrap()).collect();
        assert_eq!(ranks, (0..total).collect());
        for number in 0..total {
            assert_eq!(rank(&from_rank(order, number).unwrap()).unwrap(), number);
        }
    }
}

#[test]
fn large_orders_are_ranked_too() {
    let total = count(MAX_ORDER).unwrap();
    for number in [0, 1, total / 3, total - 1] {
        let tree = from_rank(MAX_ORDER, number).unwrap();
        assert_eq!(tree.order(), MAX_ORDER);
        assert_eq!(rank(&tree).unwrap(), number);
    }
}

#[test]
fn a_seed_draws_one_tree_and_many_seeds_draw_all_alike() {
    assert_eq!(random(32, 7).unwrap(), random(32, 7).unwrap());
    let mut drawn = [0_u32; 9];
    for seed in 0..9_000 {
        drawn[usize::try_from(rank(&random(5, seed).unwrap()).unwrap()).unwrap()] += 1;
    }
    // Chi-square with 8 degrees of freedom: above 26.1 once in a thousand.
    let square: f64 = drawn.iter().map(|&times| (f64::from(times) - 1000.0).powi(2) / 1000.0).sum();
    assert!(square < 26.1, "{drawn:?}");
}

#[test]
fn parents_follow_the_levels() {
    let tree = Tree::new(&[1, 2, 3, 3, 2]).unwrap();
    assert_eq!(tree.parents(), [None, Some(0), Some(1), Some(1), Some(0)]);
    assert_eq!(Tree::new(&[1, 2, 2, 3]).unwrap().levels(), [1, 2, 3, 2]);
}

#[test]
fn bad_sequences_and_orders_are_refused() {
    assert_eq!(Tree::new(&[]), Err(TreeError::Empty));
    assert_eq!(Tree::new(&[2]), Err(TreeError::Root { found: 2 }));
    assert_eq!(Tree::new(&[1, 3]), Err(TreeError::Level { position: 1, found: 3, before: 1 }));
    assert_eq!(Tree::new(&[1, 2, 1]), Err(TreeError::Level { position: 2, found: 1, before: 2 }));
    assert!(Tree::new(&[1, 0]).is_err());
    assert!(all(0).is_err() && all(MAX_ORDER + 1).is_err() && count(0).is_err() && random(0, 1).is_err());
    assert_eq!(from_rank(5, 9), Err(TreeError::Rank { rank: 9, order: 5, count: 9 }));
    let star = Tree::new(&[&[1], [2; 40].as_slice()].concat()).unwrap();
    assert_eq!(star.symmetry(), Err(TreeError::Overflow));
}

#[test]
fn a_tree_has_a_largest_size() {
    let levels: Vec<u32> = (1..=1_025).collect();
    assert_eq!(Tree::new(&levels), Err(TreeError::TooLarge { nodes: 1_025 }));
    let deepest = Tree::new(&levels[..1_024]).unwrap();
    assert_eq!((deepest.symmetry(), deepest.density()), (Ok(1), Err(TreeError::Overflow)));
}
