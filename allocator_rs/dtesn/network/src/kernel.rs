//! The state update.

use crate::limits::{LARGEST_INPUT, MIN_STEP};
use crate::math::{exp, tanh};
use crate::weights::{Lane, Layer, Membrane, UNITS};
use crate::{Network, NetworkError};

/// Share of the new value on each level.
pub type Rates = Vec<f32>;

impl Membrane {
    /// `W_v x`.
    #[inline]
    pub fn recur(&self, state: &Lane) -> Lane {
        let mut rotated = *state;
        for (depth, layer) in self.layers.iter().enumerate() {
            match depth {
                0 => rotate::<32>(&mut rotated, layer),
                1 => rotate::<16>(&mut rotated, layer),
                2 => rotate::<8>(&mut rotated, layer),
                3 => rotate::<4>(&mut rotated, layer),
                4 => rotate::<2>(&mut rotated, layer),
                _ => rotate::<1>(&mut rotated, layer),
            }
        }
        let mut out = [0.0; UNITS];
        for unit in 0..UNITS {
            out[unit] = self.gain[unit] * rotated[usize::from(self.source[unit]) % UNITS];
        }
        out
    }

    #[inline]
    fn drive(&self, state: &Lane, parent: Option<&Lane>, input: &[f32]) -> Lane {
        let mut sum = self.recur(state);
        for (weights, value) in self.input.iter().zip(input) {
            let value = value.clamp(-LARGEST_INPUT, LARGEST_INPUT);
            for unit in 0..UNITS {
                sum[unit] += weights[unit] * value;
            }
        }
        for (value, bias) in sum.iter_mut().zip(&self.bias) {
            *value += bias;
        }
        if let Some(above) = parent {
            for (sources, weights) in self.coupling_source.iter().zip(&self.coupling) {
                let read: Lane = std::array::from_fn(|unit| above[usize::from(sources[unit]) % UNITS]);
                for unit in 0..UNITS {
                    sum[unit] += weights[unit] * read[unit];
                }
            }
        }
        sum
    }

    #[inline]
    fn update(&self, state: &mut Lane, parent: Option<&Lane>, input: &[f32], rate: f32) {
        let sum = self.drive(state, parent, input);
        // Rounding is monotone, so keep * 1 + rate * 1 rounds to 1: the state cannot leave [-1, 1].
        let keep = 1.0 - rate;
        for unit in 0..UNITS {
            state[unit] = keep * state[unit] + rate * tanh(sum[unit]);
        }
    }
}

/// Rotate pairs that stand `STRIDE` apart.
#[inline]
fn rotate<const STRIDE: usize>(state: &mut Lane, layer: &Layer) {
    for block in 0..UNITS / (2 * STRIDE) {
        for place in 0..STRIDE {
            let pair = block * STRIDE + place;
            let (one, other) = (2 * block * STRIDE + place, (2 * block + 1) * STRIDE + place);
            let (x, y) = (state[one], state[other]);
            state[one] = layer.cosine[pair] * x - layer.sine[pair] * y;
            state[other] = layer.sine[pair] * x + layer.cosine[pair] * y;
        }
    }
}

impl Network {
    /// Share of the new value on each level after `dt` tokens.
    #[allow(clippy::cast_possible_truncation, reason = "the update is f32")]
    pub(crate) fn rates(&self, dt: f64) -> Rates {
        self.time_constants().iter().map(|tau| if *tau > 0.0 { 1.0 - exp(-dt / tau) } else { 1.0 } as f32).collect()
    }

    /// One step of one state whose sizes and inputs were checked.
    pub(crate) fn step_checked(&self, state: &mut [f32], input: &[f32], rates: &[f32]) {
        let (lanes, _) = state.as_chunks_mut::<UNITS>();
        for (number, membrane) in self.membranes.iter().enumerate() {
            let (before, rest) = lanes.split_at_mut(number);
            let parent = membrane.parent.map(|parent| &before[parent]);
            membrane.update(&mut rest[0], parent, input, rates[membrane.level]);
        }
    }

    /// One step.
    ///
    /// `state`: units values in [-1, 1]; `input`: inputs finite values; `dt`: tokens since the last sample.
    ///
    /// # Errors
    /// [`NetworkError`]; the state is as it was.
    pub fn step(&self, state: &mut [f32], input: &[f32], dt: f64) -> Result<(), NetworkError> {
        self.run(state, input, &[dt], None)
    }

    /// One step a row of `inputs`, which are row by row. `steps`: dt of each row, or one for all. `states`: takes the state
    /// after each row.
    ///
    /// # Errors
    /// [`NetworkError`]; the state is as it was.
    pub fn run(
        &self,
        state: &mut [f32],
        inputs: &[f32],
        steps: &[f64],
        mut states: Option<&mut [f32]>,
    ) -> Result<(), NetworkError> {
        let rows = self.check(state, inputs, steps)?;
        if let Some(states) = states.as_deref() {
            width("states", states.len(), rows * self.units())?;
        }
        let mut last = f64::NAN;
        let mut rates = Vec::new();
        for (row, input) in inputs.chunks_exact(self.inputs()).enumerate() {
            let dt = if steps.len() == 1 { steps[0] } else { steps[row] };
            if dt.to_bits() != last.to_bits() {
                rates = self.rates(dt);
                last = dt;
            }
            self.step_checked(state, input, &rates);
            if let Some(states) = states.as_deref_mut() {
                states[row * self.units()..(row + 1) * self.units()].copy_from_slice(state);
            }
        }
        Ok(())
    }

    fn check(&self, state: &[f32], inputs: &[f32], steps: &[f64]) -> Result<usize, NetworkError> {
        width("state", state.len(), self.units())?;
        let rows = inputs.len() / self.inputs();
        width("inputs", inputs.len(), rows * self.inputs())?;
        if steps.len() != 1 {
            width("dt", steps.len(), rows)?;
        }
        finite(inputs, self.inputs())?;
        for (row, &value) in steps.iter().enumerate() {
            check_step(row, value)?;
        }
        Ok(rows)
    }
}

pub fn width(name: &'static str, found: usize, expected: usize) -> Result<(), NetworkError> {
    if found == expected { Ok(()) } else { Err(NetworkError::Width { name, found, expected }) }
}

pub fn finite(inputs: &[f32], columns: usize) -> Result<(), NetworkError> {
    match inputs.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(place) => {
            Err(NetworkError::NotFinite { row: place / columns, column: place % columns, value: inputs[place] })
        }
    }
}

pub fn check_step(row: usize, value: f64) -> Result<(), NetworkError> {
    if value.is_finite() && value >= MIN_STEP { Ok(()) } else { Err(NetworkError::TimeStep { row, value }) }
}

#[cfg(test)]
mod tests {
    use crate::weights::UNITS;
    use crate::{Config, Network};

    /// The update as the design writes it: dense matrices, f64, the library's functions.
    fn reference(network: &Network, state: &mut [f64], input: &[f64], dt: f64) {
        for (number, membrane) in network.membranes.iter().enumerate() {
            let block = network.block(number).unwrap();
            let tau = network.time_constants()[membrane.level];
            let rate = 1.0 - (-dt / tau).exp();
            let own = state[number * UNITS..(number + 1) * UNITS].to_vec();
            for unit in 0..UNITS {
                let mut sum: f64 = block[unit].iter().zip(&own).map(|(w, x)| f64::from(*w) * x).sum();
                sum += membrane.input.iter().zip(input).map(|(w, u)| f64::from(w[unit]) * u).sum::<f64>();
                sum += f64::from(membrane.bias[unit]);
                if let Some(parent) = membrane.parent {
                    for (sources, weights) in membrane.coupling_source.iter().zip(&membrane.coupling) {
                        sum += f64::from(weights[unit]) * state[parent * UNITS + usize::from(sources[unit])];
                    }
                }
                state[number * UNITS + unit] = (1.0 - rate) * own[unit] + rate * sum.tanh();
            }
        }
    }

    #[test]
    fn the_update_is_the_formula() {
        for class in reservoir::CLASSES {
            let network = Network::new(&Config { seed: 3, ..Config::of_class(&class, 2) }).unwrap();
            let (mut state, mut exact) = (vec![0.0; network.units()], vec![0.0; network.units()]);
            for row in 0..60_u8 {
                let input = [(f64::from(row) * 0.7).sin(), (f64::from(row) * 1.3).cos()];
                let dt = [1.0, 0.25, 4.0][usize::from(row % 3)];
                #[allow(clippy::cast_possible_truncation, reason = "the update is f32")]
                network.step(&mut state, &input.map(|value| value as f32), dt).unwrap();
                reference(&network, &mut exact, &input, dt);
            }
            let apart = state.iter().zip(&exact).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(apart < 3e-6, "{apart}");
        }
    }
}
