//! Dense symmetric matrices in f64, row by row.

use crate::ReadoutError;

/// Rows of an array, checked.
pub fn rows(name: &'static str, values: &[f32], columns: usize) -> Result<usize, ReadoutError> {
    let count = values.len() / columns.max(1);
    if columns == 0 || values.len() != count * columns {
        return Err(ReadoutError::Width { name, found: values.len(), expected: (count + 1) * columns.max(1) });
    }
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(count),
        Some(at) => Err(ReadoutError::NotFinite { name, row: at / columns, column: at % columns, value: values[at] }),
    }
}

/// The largest array: a matrix of 16,384 features and a bias by as many.
const MAX_VALUES: usize = 16_385 * 16_385;

/// An array of zeros, or an error where it would be too large; an allocation that fails ends the process otherwise.
pub fn zeros(what: &'static str, sizes: [usize; 2]) -> Result<Vec<f64>, ReadoutError> {
    let bytes = sizes.iter().fold(8_u64, |acc, &size| acc.saturating_mul(u64::try_from(size).unwrap_or(u64::MAX)));
    let too_large = |reason| ReadoutError::Size { what, bytes, reason };
    let count = sizes[0].checked_mul(sizes[1]).filter(|count| *count <= MAX_VALUES);
    let count = count.ok_or_else(|| too_large("at most 2 GiB are taken"))?;
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| too_large("there is not so much memory"))?;
    values.resize(count, 0.0);
    Ok(values)
}

/// A copy of an array.
pub fn copy(what: &'static str, from: &[f64]) -> Result<Vec<f64>, ReadoutError> {
    let mut values = zeros(what, [from.len(), 1])?;
    values.copy_from_slice(from);
    Ok(values)
}

/// Rows that are taken together, so that the matrix is read once for all of them.
const TOGETHER: usize = 8;

/// `to += factor * from`.
pub fn add_scaled(to: &mut [f64], factor: f64, from: &[f64]) {
    for (value, other) in to.iter_mut().zip(from) {
        *value += factor * other;
    }
}

/// The dot product, in 4 sums.
pub fn dot(one: &[f64], other: &[f64]) -> f64 {
    let (heads, tail) = one.as_chunks::<4>();
    let (others, other_tail) = other.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (x, y) in heads.iter().zip(others) {
        for place in 0..4 {
            sums[place] += x[place] * y[place];
        }
    }
    let rest: f64 = tail.iter().zip(other_tail).map(|(x, y)| x * y).sum();
    ((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest
}

/// X'X of centred rows: the lower triangle, mirrored.
pub fn gram(values: &[f32], columns: usize, means: &[f64]) -> Result<Vec<f64>, ReadoutError> {
    let mut out = zeros("the matrix of features by features", [columns, columns])?;
    let mut block = zeros("a block of rows", [TOGETHER, columns])?;
    for chunk in values.chunks(TOGETHER * columns) {
        block.fill(0.0);
        for (to, from) in block.chunks_exact_mut(columns).zip(chunk.chunks_exact(columns)) {
            to.iter_mut().zip(from).zip(means).for_each(|((to, from), mean)| *to = f64::from(*from) - mean);
        }
        for row in 0..columns {
            let own: [f64; TOGETHER] = std::array::from_fn(|number| block[number * columns + row]);
            let parts: [&[f64]; TOGETHER] =
                std::array::from_fn(|number| &block[number * columns..=number * columns + row]);
            let target = &mut out[row * columns..=row * columns + row];
            for (place, value) in target.iter_mut().enumerate() {
                let near = own[0] * parts[0][place] + own[1] * parts[1][place];
                let next = own[2] * parts[2][place] + own[3] * parts[3][place];
                let then = own[4] * parts[4][place] + own[5] * parts[5][place];
                let last = own[6] * parts[6][place] + own[7] * parts[7][place];
                *value += (near + next) + (then + last);
            }
        }
    }
    for row in 0..columns {
        for column in 0..row {
            out[column * columns + row] = out[row * columns + column];
        }
    }
    Ok(out)
}

/// The Cholesky factor L of a matrix plus `ridge` on its diagonal, in the lower triangle.
pub fn cholesky(matrix: &[f64], size: usize, ridge: f64) -> Result<Vec<f64>, ReadoutError> {
    let mut factor = copy("the factor", matrix)?;
    let largest = (0..size).map(|place| matrix[place * size + place] + ridge).fold(0.0, f64::max);
    #[allow(clippy::cast_precision_loss, reason = "a size is far below 2^53")]
    let floor = largest * f64::EPSILON * size as f64;
    for row in 0..size {
        let (done, rest) = factor.split_at_mut(row * size);
        let own = &mut rest[..size];
        for column in 0..row {
            let other = &done[column * size..=column * size + column];
            own[column] = (own[column] - dot(&own[..column], &other[..column])) / other[column];
        }
        let pivot = own[row] + ridge - dot(&own[..row], &own[..row]);
        // Not greater, so that NaN is refused too.
        if pivot.is_nan() || pivot <= floor {
            return Err(ReadoutError::Singular { feature: row });
        }
        own[row] = pivot.sqrt();
    }
    Ok(factor)
}

/// Solve L L' x = b in place.
pub fn solve(factor: &[f64], size: usize, values: &mut [f64]) {
    for row in 0..size {
        let own = &factor[row * size..=row * size + row];
        values[row] = (values[row] - dot(&own[..row], &values[..row])) / own[row];
    }
    for row in (0..size).rev() {
        let own = &factor[row * size..=row * size + row];
        values[row] /= own[row];
        let value = values[row];
        add_scaled(&mut values[..row], -value, &own[..row]);
    }
}
