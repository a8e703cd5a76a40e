//! A series as bytes.
//!
//! A file begins with its format, order and tableau, holds numerator and denominator of each weight (and of the factor of the
//! root where there is one), already reduced, and ends with a checksum. An integer is the count of its bytes and then these,
//! the lowest first, in two's complement. That is read in a few per cent of the time that digits take, for no fraction has to
//! be reduced again.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive, Zero};

use crate::{Number, Series, Tableau};

/// Another version of the format is another text.
const FORMAT: &[u8] = b"echoplane b-series 2\n";
const WORD: usize = 8;
/// All integers are words.
const SHORT: u8 = 0;
/// Each integer is a count and so many bytes.
const LONG: u8 = 1;

/// The bytes of a series.
pub fn encode(tableau: &Tableau, series: &Series) -> Vec<u8> {
    let mut bytes = FORMAT.to_vec();
    count(&mut bytes, series.order());
    count(&mut bytes, tableau.text().len());
    bytes.extend_from_slice(tableau.text().as_bytes());
    count(&mut bytes, series.weights().len());
    let parts = |weight: &Number| {
        let root = (tableau.radicand() != 0).then(|| [weight.root().numer().clone(), weight.root().denom().clone()]);
        [weight.rational().numer().clone(), weight.rational().denom().clone()]
            .into_iter()
            .chain(root.into_iter().flatten())
    };
    let integers: Vec<BigInt> = series.weights().iter().flat_map(parts).collect();
    if let Some(words) = integers.iter().map(ToPrimitive::to_i64).collect::<Option<Vec<_>>>() {
        bytes.push(SHORT);
        bytes.extend(words.into_iter().flat_map(i64::to_le_bytes));
    } else {
        bytes.push(LONG);
        for integer in integers {
            let digits = integer.to_signed_bytes_le();
            count(&mut bytes, digits.len());
            bytes.extend_from_slice(&digits);
        }
    }
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// The series in some bytes; None where they are of another format, tableau or order, or damaged.
pub fn decode(bytes: &[u8], tableau: &Tableau, order: usize, trees: usize) -> Option<Series> {
    let (body, sum) = bytes.split_last_chunk::<WORD>()?;
    if u64::from_le_bytes(*sum) != checksum(body) {
        return None;
    }
    let mut rest = Bytes(body.strip_prefix(FORMAT)?);
    let header = rest.count()? == order && rest.take_counted()? == tableau.text().as_bytes();
    if !header || rest.count()? != trees {
        return None;
    }
    let weights = match rest.take(1)? {
        [SHORT] => rest.short(tableau.radicand()),
        [LONG] => rest.long(tableau.radicand(), trees),
        _ => None,
    };
    weights.filter(|weights| weights.len() == trees).map(|weights| Series::from_weights(order, weights))
}

/// Seven bits a byte, the lowest first; the highest bit says that there are more.
fn count(bytes: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        bytes.push(0x80 | value.to_le_bytes()[0]);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

/// What is still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn count(&mut self) -> Option<usize> {
        let mut value = 0_usize;
        for place in 0..usize::BITS / 7 {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= usize::from(first & 0x7f) << (7 * place);
            if first & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn take_counted(&mut self) -> Option<&'a [u8]> {
        let length = self.count()?;
        self.take(length)
    }

    /// Numbers of words alone. No value but the finished ones is moved about: that would take longer than all the rest.
    fn short(&self, radicand: u32) -> Option<Vec<Number>> {
        let (words, rest) = self.0.as_chunks::<WORD>();
        let width = if radicand == 0 { 2 } else { 4 };
        let word = |word: &[u8; WORD]| i64::from_le_bytes(*word);
        let sound = words.iter().skip(1).step_by(2).all(|denominator| word(denominator) > 0);
        if !rest.is_empty() || !words.len().is_multiple_of(width) || !sound {
            return None;
        }
        let fraction = |parts: &[[u8; WORD]]| BigRational::new_raw(word(&parts[0]).into(), word(&parts[1]).into());
        let number = |parts: &[[u8; WORD]]| {
            let root = if width == 2 { BigRational::zero() } else { fraction(&parts[2..]) };
            Number::new(fraction(&parts[..2]), root, radicand)
        };
        Some(words.chunks_exact(width).map(number).collect())
    }

    /// Numbers whose integers are of any length.
    fn long(&mut self, radicand: u32, trees: usize) -> Option<Vec<Number>> {
        let number = |_| {
            let rational = self.fraction()?;
            let root = if radicand == 0 { BigRational::zero() } else { self.fraction()? };
            Some(Number::new(rational, root, radicand))
        };
        let found = (0..trees).map(number).collect();
        if self.0.is_empty() { found } else { None }
    }

    /// A fraction that was reduced before it was written.
    fn fraction(&mut self) -> Option<BigRational> {
        let numerator = BigInt::from_signed_bytes_le(self.take_counted()?);
        let denominator = BigInt::from_signed_bytes_le(self.take_counted()?);
        denominator.is_positive().then(|| BigRational::new_raw(numerator, denominator))
    }
}

/// FNV-1a over words of eight bytes and the length: each step is one to one, so damage within one word is always seen.
fn checksum(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    let (words, rest) = bytes.as_chunks::<WORD>();
    let mut last = [0; WORD];
    last[..rest.len()].copy_from_slice(rest);
    let whole = words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(mix(whole, u64::from_le_bytes(last)), bytes.len() as u64)
}
