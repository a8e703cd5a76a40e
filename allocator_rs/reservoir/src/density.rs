//! The density of a membrane's block, which whole layers of rotations decide.

use crate::ReservoirError;

/// Units of a membrane: a row of its block has so many entries.
const WIDTH: f64 = 64.0;
/// With so many layers no entry is zero.
const MAX_LAYERS: u32 = 6;
/// The densities, by layers: each layer doubles the non-zeros of a row.
const DENSITIES: [f64; MAX_LAYERS as usize + 1] =
    [1.0 / WIDTH, 2.0 / WIDTH, 4.0 / WIDTH, 8.0 / WIDTH, 16.0 / WIDTH, 32.0 / WIDTH, 1.0];

/// Layers of Givens rotations, 0 to 6, whose products have this share of non-zeros in a block of 64 x 64.
///
/// # Errors
/// [`ReservoirError::DensityInvalid`] where no whole number of layers gives it.
pub fn givens_layers(block_density: f64) -> Result<u32, ReservoirError> {
    let found = (0..).zip(DENSITIES).find(|(_, density)| density.to_bits() == block_density.to_bits());
    found.map(|(layers, _)| layers).ok_or_else(|| {
        let [below, above] = beside(block_density);
        ReservoirError::DensityInvalid { value: block_density, below, above }
    })
}

/// The densities on both sides of a value, or the two nearest to one that lies outside of all.
fn beside(value: f64) -> [f64; 2] {
    let mut pairs = DENSITIES.iter().zip(DENSITIES.iter().skip(1));
    let first = pairs.clone().find(|&(_, &above)| value < above);
    first.or_else(|| pairs.next_back()).map_or([1.0, 1.0], |(&below, &above)| [below, above])
}

#[cfg(test)]
mod tests {
    use super::{DENSITIES, givens_layers};
    use crate::ReservoirError;

    #[test]
    fn each_layer_doubles_the_density() {
        for (layers, density) in (0..=6).zip(DENSITIES) {
            assert_eq!(givens_layers(density), Ok(layers));
            assert!((density - f64::from(1 << layers) / 64.0).abs() < 1e-15);
        }
    }

    #[test]
    fn another_density_is_refused_with_those_beside_it() {
        let refused = [
            (0.3, [0.25, 0.5]),
            (0.126, [0.125, 0.25]),
            (0.02, [1.0 / 64.0, 2.0 / 64.0]),
            (0.0, [1.0 / 64.0, 2.0 / 64.0]),
            (-0.0, [1.0 / 64.0, 2.0 / 64.0]),
            (-1.0, [1.0 / 64.0, 2.0 / 64.0]),
            (1.5, [0.5, 1.0]),
            (f64::INFINITY, [0.5, 1.0]),
        ];
        for (value, [below, above]) in refused {
            assert_eq!(givens_layers(value), Err(ReservoirError::DensityInvalid { value, below, above }));
        }
        assert!(matches!(givens_layers(f64::NAN), Err(ReservoirError::DensityInvalid { .. })));
    }
}
