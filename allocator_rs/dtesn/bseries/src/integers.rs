//! Elementary weights without a single fraction in between.
//!
//! With A = A' / p and b = b' / q in integers, the stage vector of a tree of n nodes is an integer vector over p^(n-1), and
//! Phi an integer over q p^(n-1). A tree is the Butcher product of a left and a right one, whose vectors are known:
//! `g(t) = g(left) * (A' g(right))`, stage by stage. In Z[sqrt d] the same with pairs. 128 bits are tried first.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{CheckedAdd, CheckedMul, One, ToPrimitive, Zero};

use crate::forest::{Product, forest};
use crate::{Number, Tableau};

/// What integers must do; None where they do not fit.
trait Exact: Clone + Zero + One + CheckedAdd + CheckedMul {}

impl Exact for i128 {}
impl Exact for BigInt {}

/// x + y sqrt(d).
#[derive(Clone)]
struct Pair<T> {
    plain: T,
    root: T,
}

struct Scaled<T> {
    radicand: T,
    /// A' by rows: the stages that are not zero, and their entries.
    rows: Vec<Vec<(usize, Pair<T>)>>,
    weights: Vec<Pair<T>>,
}

impl<T: Exact> Scaled<T> {
    fn times(&self, one: &Pair<T>, other: &Pair<T>) -> Option<Pair<T>> {
        if self.radicand.is_zero() {
            return Some(Pair { plain: one.plain.checked_mul(&other.plain)?, root: T::zero() });
        }
        let square = one.root.checked_mul(&other.root)?.checked_mul(&self.radicand)?;
        let plain = one.plain.checked_mul(&other.plain)?.checked_add(&square)?;
        let cross = one.root.checked_mul(&other.plain)?;
        let root = one.plain.checked_mul(&other.root)?.checked_add(&cross)?;
        Some(Pair { plain, root })
    }

    fn dot<'a>(&self, terms: impl Iterator<Item = (&'a Pair<T>, &'a Pair<T>)>) -> Option<Pair<T>>
    where
        T: 'a,
    {
        let mut sum = Pair { plain: T::zero(), root: T::zero() };
        for (one, other) in terms {
            let product = self.times(one, other)?;
            sum.plain = sum.plain.checked_add(&product.plain)?;
            sum.root = sum.root.checked_add(&product.root)?;
        }
        Some(sum)
    }

    /// Phi times q p^(n-1) of the first trees.
    fn weights(&self, products: &[Option<Product>]) -> Option<Vec<Pair<T>>> {
        // A' g of each tree, where it is a right factor, and g itself.
        let mut vectors: Vec<Vec<Pair<T>>> = Vec::with_capacity(products.len());
        let mut images: Vec<Option<Vec<Pair<T>>>> = vec![None; products.len()];
        let mut found = Vec::with_capacity(products.len());
        for product in products {
            let vector = match product {
                None => vec![Pair { plain: T::one(), root: T::zero() }; self.weights.len()],
                Some(Product { left, right }) => {
                    if images[*right].is_none() {
                        images[*right] = Some(self.image(&vectors[*right])?);
                    }
                    let image = images[*right].as_deref().unwrap_or_default();
                    let parts = vectors[*left].iter().zip(image);
                    parts.map(|(one, other)| self.times(one, other)).collect::<Option<_>>()?
                }
            };
            found.push(self.dot(self.weights.iter().zip(&vector))?);
            vectors.push(vector);
        }
        Some(found)
    }

    fn image(&self, vector: &[Pair<T>]) -> Option<Vec<Pair<T>>> {
        self.rows.iter().map(|row| self.dot(row.iter().map(|(stage, entry)| (entry, &vector[*stage])))).collect()
    }
}

/// Phi of the first `count` trees.
pub fn elementary_weights(tableau: &Tableau, count: usize) -> Vec<Number> {
    let base = common_denominator(tableau.a().iter().flatten());
    let last = common_denominator(tableau.b().iter());
    let scaled = scale(tableau, &base, &last);
    let products = &forest().products()[..count];
    let narrow = || {
        let found = narrowed(&scaled)?.weights(products)?;
        in_64_bits(tableau, &base, &last, &found)
    };
    narrow().unwrap_or_else(|| {
        // Integers of any length always fit.
        let found = scaled.weights(products).unwrap_or_default();
        let orders = forest().trees().iter().map(trees::Tree::order);
        let powers: Vec<BigInt> =
            std::iter::successors(Some(last.clone()), |power| Some(power * &base)).take(crate::MAX_ORDER).collect();
        let number = |pair: &Pair<BigInt>, order: usize| {
            let part = |value: &BigInt| BigRational::new(value.clone(), powers[order - 1].clone());
            Number::new(part(&pair.plain), part(&pair.root), tableau.radicand())
        };
        found.iter().zip(orders).map(|(pair, order)| number(pair, order)).collect()
    })
}

/// The same where denominators fit into 128 bits, which saves most of the time.
fn in_64_bits(tableau: &Tableau, base: &BigInt, last: &BigInt, found: &[Pair<i128>]) -> Option<Vec<Number>> {
    let (base, last) = (base.to_i128()?, last.to_i128()?);
    let powers: Vec<Option<i128>> =
        std::iter::successors(Some(Some(last)), |power| Some(power.and_then(|value| value.checked_mul(base))))
            .take(crate::MAX_ORDER)
            .collect();
    let number = |pair: &Pair<i128>, order: usize| {
        let denominator = powers[order - 1]?;
        Some(Number::new(reduced(pair.plain, denominator), reduced(pair.root, denominator), tableau.radicand()))
    };
    found.iter().zip(forest().trees()).map(|(pair, tree)| number(pair, tree.order())).collect()
}

fn reduced(numerator: i128, denominator: i128) -> BigRational {
    let small = (i64::try_from(numerator), i64::try_from(denominator));
    if let (Ok(numerator), Ok(denominator)) = small {
        let common = numerator.gcd(&denominator);
        return BigRational::new_raw((numerator / common).into(), (denominator / common).into());
    }
    let common = numerator.gcd(&denominator);
    BigRational::new_raw((numerator / common).into(), (denominator / common).into())
}

fn common_denominator<'a>(numbers: impl Iterator<Item = &'a Number>) -> BigInt {
    numbers.fold(BigInt::one(), |common, number| common.lcm(number.rational().denom()).lcm(number.root().denom()))
}

fn scale(tableau: &Tableau, base: &BigInt, last: &BigInt) -> Scaled<BigInt> {
    let pair = |number: &Number, factor: &BigInt| {
        let part = |value: &BigRational| value.numer() * (factor / value.denom());
        Pair { plain: part(number.rational()), root: part(number.root()) }
    };
    let entries = |row: &Vec<Number>| {
        let all = row.iter().map(|number| pair(number, base)).enumerate();
        all.filter(|(_, entry)| !entry.plain.is_zero() || !entry.root.is_zero()).collect()
    };
    Scaled {
        radicand: tableau.radicand().into(),
        rows: tableau.a().iter().map(entries).collect(),
        weights: tableau.b().iter().map(|number| pair(number, last)).collect(),
    }
}

fn narrowed(wide: &Scaled<BigInt>) -> Option<Scaled<i128>> {
    let pair = |from: &Pair<BigInt>| Some(Pair { plain: from.plain.to_i128()?, root: from.root.to_i128()? });
    let row = |from: &Vec<(usize, Pair<BigInt>)>| {
        from.iter().map(|(stage, entry)| Some((*stage, pair(entry)?))).collect::<Option<Vec<_>>>()
    };
    Some(Scaled {
        radicand: wide.radicand.to_i128()?,
        rows: wide.rows.iter().map(row).collect::<Option<_>>()?,
        weights: wide.weights.iter().map(pair).collect::<Option<_>>()?,
    })
}
