//! The composition of two B-series, and the modified equation of one (Hairer, Lubich, Wanner, III.1.4 and IX.9.1).

use std::sync::OnceLock;

use num_rational::BigRational;
use num_traits::One;
use trees::Tree;

use crate::{Forest, Number, SeriesError, forest};

/// The largest order of composition and modified equations.
pub const MAX_ALGEBRA_ORDER: usize = 8;

/// A subtree that holds the root, and the trees that fall off.
#[derive(Debug, Clone)]
struct Split {
    kept: usize,
    cut: Vec<usize>,
}

/// All splits of each tree, with children told apart; the first keeps the whole tree.
fn splits() -> &'static [Vec<Split>] {
    static SPLITS: OnceLock<Vec<Vec<Split>>> = OnceLock::new();
    SPLITS.get_or_init(|| {
        let forest = forest();
        let count = Forest::count(MAX_ALGEBRA_ORDER).unwrap_or(0);
        let mut all: Vec<Vec<Split>> = Vec::with_capacity(count);
        for tree in &forest.trees()[..count] {
            let found = splits_of(&all, tree);
            all.push(found);
        }
        all
    })
}

/// Each child is cut off whole, or kept with a split of its own.
fn splits_of(smaller: &[Vec<Split>], tree: &Tree) -> Vec<Split> {
    let forest = forest();
    let mut open: Vec<(Vec<usize>, Vec<usize>)> = vec![(Vec::new(), Vec::new())];
    for child in tree.subtrees().iter().filter_map(|child| forest.number(child)) {
        let mut next = Vec::with_capacity(open.len() * (smaller[child].len() + 1));
        for (kept, cut) in &open {
            for split in &smaller[child] {
                let kept = kept.iter().copied().chain([split.kept]).collect();
                next.push((kept, cut.iter().chain(&split.cut).copied().collect()));
            }
            next.push((kept.clone(), cut.iter().copied().chain([child]).collect()));
        }
        open = next;
    }
    let join = |kept: &[usize]| {
        let parts: Vec<_> = kept.iter().map(|number| forest.trees()[*number].clone()).collect();
        forest.number(&Tree::join(&parts))
    };
    open.into_iter().filter_map(|(kept, cut)| Some(Split { kept: join(&kept)?, cut })).collect()
}

fn checked(order: usize, coefficients: &[&[Number]]) -> Result<usize, SeriesError> {
    if !(1..=MAX_ALGEBRA_ORDER).contains(&order) {
        return Err(SeriesError::Order { order, limit: MAX_ALGEBRA_ORDER });
    }
    let expected = Forest::count(order)?;
    let mut known = 0;
    for values in coefficients {
        if values.len() != expected {
            return Err(SeriesError::Coefficients { found: values.len(), expected, order });
        }
        for found in values.iter().map(Number::radicand).filter(|found| *found != 0) {
            if known != 0 && known != found {
                return Err(SeriesError::Roots { one: known, other: found });
            }
            known = found;
        }
    }
    Ok(expected)
}

/// a(t) * factor^|t|: the same series with another step.
///
/// # Errors
/// [`SeriesError::Order`] and [`SeriesError::Coefficients`].
pub fn scaled(values: &[Number], factor: &Number, order: usize) -> Result<Vec<Number>, SeriesError> {
    let count = checked(order, &[values])?;
    let powers: Vec<_> =
        std::iter::successors(Some(factor.clone()), |power| Some(power.times(factor))).take(order).collect();
    let trees = &forest().trees()[..count];
    Ok(values.iter().zip(trees).map(|(value, tree)| value.times(&powers[tree.order() - 1])).collect())
}

/// First a step of `first`, then one of `second`: a b(t) = a(t) + sum over subtrees s with the root of b(s) a(t \ s).
///
/// # Errors
/// [`SeriesError::Order`], [`SeriesError::Coefficients`] and [`SeriesError::Roots`].
pub fn compose(first: &[Number], second: &[Number], order: usize) -> Result<Vec<Number>, SeriesError> {
    let count = checked(order, &[first, second])?;
    let value = |tree: usize| {
        splits()[tree].iter().fold(first[tree].clone(), |sum, split| {
            let product = split.cut.iter().fold(second[split.kept].clone(), |part, cut| part.times(&first[*cut]));
            sum.plus(&product)
        })
    };
    Ok((0..count).map(value).collect())
}

/// The modified equation: h f~ = sum over trees of h^|t| / sigma(t) * b(t) * F(t), whose exact flow is one step of `series`.
///
/// With D the derivative along f~ the exact flow is sum over j of D^(j-1) (h f~) / j!, and D takes c to
/// (D c)(t) = sum over edges of t of c(part with the root) b(part cut off). Both parts are smaller, so b follows order by
/// order.
///
/// # Errors
/// [`SeriesError::Order`] and [`SeriesError::Coefficients`].
pub fn modified(series: &[Number], order: usize) -> Result<Vec<Number>, SeriesError> {
    let count = checked(order, &[series])?;
    // derivatives[j] is D^j b; of a tree of n nodes only those below n are not zero.
    let mut derivatives: Vec<Vec<Number>> = vec![Vec::with_capacity(count); order];
    for (tree, weight) in series.iter().enumerate() {
        let mut value = weight.clone();
        let mut factorial = BigRational::one();
        let mut own = Vec::with_capacity(order);
        for level in 1..order {
            let edges = splits()[tree].iter().filter(|split| split.cut.len() == 1);
            let sum = edges.fold(Number::zero(), |sum, split| {
                sum.plus(&derivatives[level - 1][split.kept].times(&derivatives[0][split.cut[0]]))
            });
            factorial *= BigRational::from_integer((level + 1).into());
            value = value.minus(&sum.times_ratio(&factorial.recip()));
            own.push(sum);
        }
        derivatives[0].push(value);
        derivatives[1..].iter_mut().zip(own).for_each(|(all, sum)| all.push(sum));
    }
    Ok(derivatives.swap_remove(0))
}
