//! Householder's reduction to tridiagonal form, after which a regularisation costs time linear in the size.
//!
//! With G = Q T Q' the matrices G + l I and T + l I have the same trace of the inverse, and Q'b is computed once: so the
//! whole path of generalised cross-validation costs one reduction (Eldén, "A note on the computation of the generalized
//! cross-validation function for ill-conditioned least squares problems", BIT 24, 1984).

use crate::matrix::{add_scaled, dot};

/// T, and Q' times some vectors.
pub struct Tridiagonal {
    diagonal: Vec<f64>,
    /// `beside[i]` couples i and i + 1.
    beside: Vec<f64>,
    sides: Vec<Vec<f64>>,
}

/// What a regularisation gives.
pub struct Solution {
    /// Trace of (T + l I)^-1.
    pub inverse_trace: f64,
    /// For each side b: b' (T + l I)^-1 b.
    pub fits: Vec<f64>,
    /// For each side: the squared norm of (T + l I)^-1 b.
    pub norms: Vec<f64>,
}

impl Tridiagonal {
    /// Reduce a symmetric matrix, given in full.
    pub fn new(mut matrix: Vec<f64>, size: usize, mut sides: Vec<Vec<f64>>) -> Self {
        let mut diagonal = Vec::with_capacity(size);
        let mut beside = Vec::with_capacity(size);
        for step in 0..size {
            diagonal.push(matrix[step * size + step]);
            if step + 1 == size {
                break;
            }
            let below = step + 1;
            let mut normal = matrix[step * size + below..(step + 1) * size].to_vec();
            let length = dot(&normal, &normal).sqrt();
            let first = normal[0];
            let image = if first > 0.0 { -length } else { length };
            beside.push(image);
            normal[0] -= image;
            let square = dot(&normal, &normal);
            if square > 0.0 {
                reflect(&mut matrix, size, below, &normal, square);
                for side in &mut sides {
                    let along = 2.0 * dot(&side[below..], &normal) / square;
                    add_scaled(&mut side[below..], -along, &normal);
                }
            }
        }
        Self { diagonal, beside, sides }
    }

    /// Solve at a regularisation; None where T + l I is not positive definite in f64.
    pub fn at(&self, ridge: f64) -> Option<Solution> {
        let size = self.diagonal.len();
        let shifted: Vec<_> = self.diagonal.iter().map(|value| value + ridge).collect();
        let mut forward = shifted.clone();
        let mut backward = shifted.clone();
        for place in 1..size {
            forward[place] -= self.beside[place - 1] * self.beside[place - 1] / forward[place - 1];
            let at = size - 1 - place;
            backward[at] -= self.beside[at] * self.beside[at] / backward[at + 1];
        }
        if forward.iter().chain(&backward).any(|pivot| pivot.is_nan() || *pivot <= 0.0) {
            return None;
        }
        let inverse_trace = (0..size).map(|place| 1.0 / (forward[place] + backward[place] - shifted[place])).sum();
        let solved: Vec<_> = self.sides.iter().map(|side| self.solve(&forward, side)).collect();
        let fits = self.sides.iter().zip(&solved).map(|(side, found)| dot(side, found)).collect();
        let norms = solved.iter().map(|found| dot(found, found)).collect();
        Some(Solution { inverse_trace, fits, norms })
    }

    fn solve(&self, pivots: &[f64], side: &[f64]) -> Vec<f64> {
        let mut found = side.to_vec();
        for place in 1..found.len() {
            found[place] -= self.beside[place - 1] / pivots[place - 1] * found[place - 1];
        }
        for place in (0..found.len()).rev() {
            let after = if place + 1 < found.len() { self.beside[place] * found[place + 1] } else { 0.0 };
            found[place] = (found[place] - after) / pivots[place];
        }
        found
    }
}

/// H A H of the block from `below` on, H = I - 2 v v' / |v|^2.
fn reflect(matrix: &mut [f64], size: usize, below: usize, normal: &[f64], square: f64) {
    let mut product = vec![0.0; normal.len()];
    for (place, value) in normal.iter().enumerate() {
        let row = (below + place) * size;
        add_scaled(&mut product, *value, &matrix[row + below..row + size]);
    }
    let scale = 2.0 / square;
    for value in &mut product {
        *value *= scale;
    }
    let along = scale / 2.0 * dot(&product, normal);
    add_scaled(&mut product, -along, normal);
    for place in 0..normal.len() {
        let row = (below + place) * size;
        let (one, other) = (normal[place], product[place]);
        let target = &mut matrix[row + below..row + size];
        for ((value, w), v) in target.iter_mut().zip(&product).zip(normal) {
            *value -= one * w + other * v;
        }
    }
}
