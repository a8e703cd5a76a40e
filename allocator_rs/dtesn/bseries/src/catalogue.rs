//! Known methods (Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations" I and II, unless said otherwise).

use crate::{Number, SeriesError, Tableau};

/// The methods that [`tableau`] knows.
pub const NAMES: [&str; 13] = [
    "euler",
    "midpoint",
    "heun",
    "ralston",
    "kutta3",
    "ssp3",
    "bogacki-shampine",
    "rk4",
    "three-eighths",
    "dormand-prince5",
    "gauss4",
    "radau-iia3",
    "radau-iia5",
];

/// Rows of fractions.
type Rows = &'static [&'static [(i64, i64)]];

/// A method by name.
///
/// # Errors
/// [`SeriesError::Unknown`].
pub fn tableau(name: &str) -> Result<Tableau, SeriesError> {
    let surds = match name {
        "gauss4" => Some(gauss4()),
        "radau-iia5" => Some(radau5()),
        _ => None,
    };
    if let Some((a, b)) = surds {
        return Tableau::new(&a, &b, None);
    }
    let (a, b) = rational(name).ok_or_else(|| SeriesError::Unknown { name: name.chars().take(60).collect() })?;
    let row = |values: &[(i64, i64)]| values.iter().map(|(p, q)| Number::ratio(*p, *q)).collect::<Vec<_>>();
    Tableau::new(&a.iter().map(|values| row(values)).collect::<Vec<_>>(), &row(b), None)
}

fn rational(name: &str) -> Option<(Rows, &'static [(i64, i64)])> {
    Some(match name {
        "euler" => (&[&[]], &[(1, 1)]),
        "midpoint" => (&[&[], &[(1, 2)]], &[(0, 1), (1, 1)]),
        "heun" => (&[&[], &[(1, 1)]], &[(1, 2), (1, 2)]),
        "ralston" => (&[&[], &[(2, 3)]], &[(1, 4), (3, 4)]),
        "kutta3" => (&[&[], &[(1, 2)], &[(-1, 1), (2, 1)]], &[(1, 6), (2, 3), (1, 6)]),
        // Shu, Osher, J. Comput. Phys. 77, 1988.
        "ssp3" => (&[&[], &[(1, 1)], &[(1, 4), (1, 4)]], &[(1, 6), (1, 6), (2, 3)]),
        // Bogacki, Shampine, Appl. Math. Lett. 2, 1989.
        "bogacki-shampine" => {
            (&[&[], &[(1, 2)], &[(0, 1), (3, 4)], &[(2, 9), (1, 3), (4, 9)]], &[(2, 9), (1, 3), (4, 9), (0, 1)])
        }
        "rk4" => (&[&[], &[(1, 2)], &[(0, 1), (1, 2)], &[(0, 1), (0, 1), (1, 1)]], &[(1, 6), (1, 3), (1, 3), (1, 6)]),
        "three-eighths" => {
            (&[&[], &[(1, 3)], &[(-1, 3), (1, 1)], &[(1, 1), (-1, 1), (1, 1)]], &[(1, 8), (3, 8), (3, 8), (1, 8)])
        }
        "dormand-prince5" => (&DORMAND_PRINCE, DORMAND_PRINCE[6]),
        "radau-iia3" => (&[&[(5, 12), (-1, 12)], &[(3, 4), (1, 4)]], &[(3, 4), (1, 4)]),
        _ => return None,
    })
}

/// Dormand, Prince, J. Comput. Appl. Math. 6, 1980; the last row is the weights (first same as last).
static DORMAND_PRINCE: [&[(i64, i64)]; 7] = [
    &[],
    &[(1, 5)],
    &[(3, 40), (9, 40)],
    &[(44, 45), (-56, 15), (32, 9)],
    &[(19372, 6561), (-25360, 2187), (64448, 6561), (-212, 729)],
    &[(9017, 3168), (-355, 33), (46732, 5247), (49, 176), (-5103, 18656)],
    &[(35, 384), (0, 1), (500, 1113), (125, 192), (-2187, 6784), (11, 84), (0, 1)],
];

/// Two stages, order 4.
fn gauss4() -> (Vec<Vec<Number>>, Vec<Number>) {
    let quarter = Number::ratio(1, 4);
    let a = vec![vec![quarter.clone(), Number::surd(3, -2, 12, 3)], vec![Number::surd(3, 2, 12, 3), quarter]];
    (a, vec![Number::ratio(1, 2), Number::ratio(1, 2)])
}

/// Three stages, order 5.
fn radau5() -> (Vec<Vec<Number>>, Vec<Number>) {
    let last = vec![Number::surd(16, -1, 36, 6), Number::surd(16, 1, 36, 6), Number::ratio(1, 9)];
    let a = vec![
        vec![Number::surd(88, -7, 360, 6), Number::surd(296, -169, 1800, 6), Number::surd(-2, 3, 225, 6)],
        vec![Number::surd(296, 169, 1800, 6), Number::surd(88, 7, 360, 6), Number::surd(-2, -3, 225, 6)],
        last.clone(),
    ];
    (a, last)
}
