//! Runge-Kutta tableaus.

use crate::limits::MAX_STAGES;
use crate::{Number, SeriesError};

/// A consistent tableau: c are the row sums, and the weights add up to 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tableau {
    a: Vec<Vec<Number>>,
    b: Vec<Number>,
    c: Vec<Number>,
    radicand: u32,
    text: String,
}

impl Tableau {
    /// Check a tableau; rows of `a` may be short, what lacks is 0. Without `c` the row sums are taken.
    ///
    /// # Errors
    /// [`SeriesError::Stages`], [`SeriesError::Shape`], [`SeriesError::Roots`] and [`SeriesError::Inconsistent`].
    pub fn new(a: &[Vec<Number>], b: &[Number], c: Option<&[Number]>) -> Result<Self, SeriesError> {
        let stages = b.len();
        if !(1..=MAX_STAGES).contains(&stages) {
            return Err(SeriesError::Stages { stages });
        }
        let shape = |name: String, found: usize| Err(SeriesError::Shape { name, found, stages });
        if a.len() != stages {
            return shape("a".to_owned(), a.len());
        }
        if let Some((row, long)) = a.iter().enumerate().find(|(_, row)| row.len() > stages) {
            return shape(format!("row {row} of a"), long.len());
        }
        if let Some(given) = c.filter(|given| given.len() != stages) {
            return shape("c".to_owned(), given.len());
        }
        let radicand = radicand(a.iter().flatten().chain(b).chain(c.unwrap_or(&[])))?;
        let sums: Vec<_> = a.iter().map(|row| sum(row)).collect();
        for (row, (found, expected)) in sums.iter().zip(c.unwrap_or(&sums)).enumerate() {
            consistent(|| format!("the sum of row {row} of a"), found, expected)?;
        }
        consistent(|| "the sum of b".to_owned(), &sum(b), &Number::one())?;
        let full = |row: &Vec<Number>| {
            let zeros = std::iter::repeat_with(Number::zero);
            row.iter().cloned().chain(zeros).take(stages).collect::<Vec<_>>()
        };
        let a: Vec<_> = a.iter().map(full).collect();
        let text = text(&a, b);
        Ok(Self { a, b: b.to_vec(), c: sums, radicand, text })
    }

    /// How many stages.
    #[must_use]
    pub const fn stages(&self) -> usize {
        self.b.len()
    }

    /// The matrix, row by row.
    #[must_use]
    pub fn a(&self) -> &[Vec<Number>] {
        &self.a
    }

    /// The weights.
    #[must_use]
    pub fn b(&self) -> &[Number] {
        &self.b
    }

    /// The nodes.
    #[must_use]
    pub fn c(&self) -> &[Number] {
        &self.c
    }

    /// d of Q(sqrt d); 0 where all entries are rational.
    #[must_use]
    pub const fn radicand(&self) -> u32 {
        self.radicand
    }

    /// The same for equal methods only.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn sum(values: &[Number]) -> Number {
    values.iter().fold(Number::zero(), |total, value| total.plus(value))
}

fn radicand<'a>(values: impl Iterator<Item = &'a Number>) -> Result<u32, SeriesError> {
    values.map(Number::radicand).filter(|found| *found != 0).try_fold(0, |known, found| {
        if known == 0 || known == found { Ok(found) } else { Err(SeriesError::Roots { one: known, other: found }) }
    })
}

fn consistent(what: impl Fn() -> String, found: &Number, expected: &Number) -> Result<(), SeriesError> {
    if found == expected {
        return Ok(());
    }
    Err(SeriesError::Inconsistent { what: what(), found: found.to_string(), expected: expected.to_string() })
}

fn text(a: &[Vec<Number>], b: &[Number]) -> String {
    let row = |values: &[Number]| values.iter().map(Number::to_string).collect::<Vec<_>>().join(" ");
    a.iter().map(|values| row(values)).chain([row(b)]).collect::<Vec<_>>().join(" ; ")
}
