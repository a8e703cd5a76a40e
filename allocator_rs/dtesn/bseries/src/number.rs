//! Numbers a + b sqrt(d), exact.

use std::fmt;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::SeriesError;

/// Longer texts are no numbers of a tableau.
const MAX_CHARACTERS: usize = 200;

/// A number of Q(sqrt d): `rational + root * sqrt(radicand)`; the radicand is 0 where the root is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    rational: BigRational,
    root: BigRational,
    radicand: u32,
}

impl Number {
    /// A number; `radicand` counts only where `root` is not 0.
    #[must_use]
    pub fn new(rational: BigRational, root: BigRational, radicand: u32) -> Self {
        let radicand = if root.is_zero() { 0 } else { radicand };
        Self { rational, root, radicand }
    }

    /// p/q.
    #[must_use]
    pub fn ratio(numerator: i64, denominator: i64) -> Self {
        Self::new(BigRational::new(numerator.into(), denominator.into()), BigRational::zero(), 0)
    }

    /// (p + r sqrt(d)) / q.
    #[must_use]
    pub fn surd(numerator: i64, root: i64, denominator: i64, radicand: u32) -> Self {
        let part = |value: i64| BigRational::new(value.into(), denominator.into());
        Self::new(part(numerator), part(root), radicand)
    }

    /// Read `p/q`, `p/q+p/q*sqrt(d)` or `p/q-p/q*sqrt(d)`; spaces are passed over.
    ///
    /// # Errors
    /// [`SeriesError::Number`].
    pub fn parse(text: &str) -> Result<Self, SeriesError> {
        let refused = || SeriesError::Number { text: text.chars().take(60).collect() };
        let plain: String = text.chars().filter(|symbol| *symbol != ' ').collect();
        if plain.len() > MAX_CHARACTERS {
            return Err(refused());
        }
        let Some(body) = plain.strip_suffix(')') else {
            return Ok(Self::new(fraction(&plain).ok_or_else(refused)?, BigRational::zero(), 0));
        };
        let (factors, radicand) = body.split_once("*sqrt(").ok_or_else(refused)?;
        let radicand = radicand.parse().ok().filter(|value| square_free(*value)).ok_or_else(refused)?;
        let cut = factors.rfind(['+', '-']).filter(|place| *place > 0);
        let (rational, root) = cut.map_or(("0", factors), |place| factors.split_at(place));
        let root = root.strip_prefix('+').unwrap_or(root);
        Ok(Self::new(fraction(rational).ok_or_else(refused)?, fraction(root).ok_or_else(refused)?, radicand))
    }

    /// The rational part.
    #[must_use]
    pub const fn rational(&self) -> &BigRational {
        &self.rational
    }

    /// The factor of the root.
    #[must_use]
    pub const fn root(&self) -> &BigRational {
        &self.root
    }

    /// d; 0 for a rational number.
    #[must_use]
    pub const fn radicand(&self) -> u32 {
        self.radicand
    }

    /// The nearest f64, up to a few units in the last place.
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        let part = |value: &BigRational| value.to_f64().unwrap_or(f64::NAN);
        part(&self.rational) + part(&self.root) * f64::from(self.radicand).sqrt()
    }

    /// The sum of two numbers with the same root, or of which one is rational.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let radicand = self.radicand.max(other.radicand);
        Self::new(&self.rational + &other.rational, &self.root + &other.root, radicand)
    }

    /// The difference.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.plus(&other.times_ratio(&BigRational::from_integer(BigInt::from(-1))))
    }

    /// The product of two numbers with the same root, or of which one is rational.
    #[must_use]
    pub fn times(&self, other: &Self) -> Self {
        let radicand = self.radicand.max(other.radicand);
        let square = BigRational::from_integer(radicand.into());
        let rational = &self.rational * &other.rational + &self.root * &other.root * square;
        Self::new(rational, &self.rational * &other.root + &self.root * &other.rational, radicand)
    }

    /// The product with a rational number.
    #[must_use]
    pub fn times_ratio(&self, factor: &BigRational) -> Self {
        Self::new(&self.rational * factor, &self.root * factor, self.radicand)
    }

    /// 0.
    #[must_use]
    pub fn zero() -> Self {
        Self::ratio(0, 1)
    }

    /// 1.
    #[must_use]
    pub fn one() -> Self {
        Self::new(BigRational::one(), BigRational::zero(), 0)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.radicand == 0 {
            return write!(formatter, "{}", self.rational);
        }
        let sign = if self.root.is_negative() { '-' } else { '+' };
        write!(formatter, "{}{sign}{}*sqrt({})", self.rational, self.root.abs(), self.radicand)
    }
}

fn fraction(text: &str) -> Option<BigRational> {
    let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(numerator.strip_prefix('-').unwrap_or(numerator)) || !digits(denominator) {
        return None;
    }
    let (numerator, denominator): (BigInt, BigInt) = (numerator.parse().ok()?, denominator.parse().ok()?);
    (!denominator.is_zero()).then(|| BigRational::new(numerator, denominator))
}

/// From 2 to 9999 without a square factor, so that a number has one form only.
fn square_free(value: u32) -> bool {
    (2..10_000).contains(&value) && (2..100).all(|factor| !value.is_multiple_of(factor * factor))
}
