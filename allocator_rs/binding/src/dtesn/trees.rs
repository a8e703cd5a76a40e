//! Rooted trees as level sequences.

use pyo3::prelude::*;
use trees::Tree;

use super::errors;
use crate::guard::detach;

fn tree(levels: &[u32]) -> PyResult<Tree> {
    Tree::new(levels).map_err(|error| errors::tree(&error))
}

/// The canonical level sequence of a tree.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts lists by value")]
fn tree_canonical(levels: Vec<u32>) -> PyResult<Vec<u32>> {
    Ok(tree(&levels)?.levels().to_vec())
}

/// Symmetry and density.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts lists by value")]
fn tree_numbers(levels: Vec<u32>) -> PyResult<(u128, u128)> {
    let tree = tree(&levels)?;
    let both = tree.symmetry().and_then(|symmetry| Ok((symmetry, tree.density()?)));
    both.map_err(|error| errors::tree(&error))
}

/// How many trees an order has.
#[pyfunction]
fn tree_count(order: usize) -> PyResult<u128> {
    trees::count(order).map_err(|error| errors::tree(&error))
}

/// All trees of an order.
#[pyfunction]
fn tree_list(python: Python<'_>, order: usize) -> PyResult<Vec<Vec<u32>>> {
    if order > bseries::MAX_ORDER + 5 {
        let count = trees::count(order).map_err(|error| errors::tree(&error))?;
        return Err(errors::OrderInvalidError::new_err(format!(
            "order {order} has {count} trees; up to 15 are listed"
        )));
    }
    let listed = detach(python, || Ok(trees::all(order)?.map(|tree| tree.levels().to_vec()).collect()))?;
    listed.map_err(|error: trees::TreeError| errors::tree(&error))
}

/// The rank of a tree.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 extracts lists by value")]
fn tree_rank(levels: Vec<u32>) -> PyResult<u128> {
    trees::rank(&tree(&levels)?).map_err(|error| errors::tree(&error))
}

/// The tree of a rank.
#[pyfunction]
fn tree_from_rank(order: usize, rank: u128) -> PyResult<Vec<u32>> {
    let found = trees::from_rank(order, rank).map_err(|error| errors::tree(&error))?;
    Ok(found.levels().to_vec())
}

/// A tree that is drawn uniformly.
#[pyfunction]
fn tree_random(order: usize, seed: u64) -> PyResult<Vec<u32>> {
    let found = trees::random(order, seed).map_err(|error| errors::tree(&error))?;
    Ok(found.levels().to_vec())
}

/// The default tree of so many membranes and levels.
#[pyfunction]
fn tree_default(nodes: u64, depth: u32) -> PyResult<Vec<u32>> {
    let fits = (1..=1024).contains(&nodes) && (1..=nodes).contains(&u64::from(depth)) && (depth > 1 || nodes == 1);
    if !fits {
        return Err(errors::LevelsInvalidError::new_err("nodes must be 1 to 1024, and depth 2 to nodes"));
    }
    Ok(trees::default_tree(nodes, depth))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(tree_canonical, module)?)?;
    module.add_function(wrap_pyfunction!(tree_numbers, module)?)?;
    module.add_function(wrap_pyfunction!(tree_count, module)?)?;
    module.add_function(wrap_pyfunction!(tree_list, module)?)?;
    module.add_function(wrap_pyfunction!(tree_rank, module)?)?;
    module.add_function(wrap_pyfunction!(tree_from_rank, module)?)?;
    module.add_function(wrap_pyfunction!(tree_random, module)?)?;
    module.add_function(wrap_pyfunction!(tree_default, module)?)
}
