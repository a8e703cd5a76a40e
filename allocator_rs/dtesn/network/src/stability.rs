//! How long two starts stay apart.
//!
//! Let `e_v` be the 2-norm of the difference of two states of membrane v under the same input. As tanh is 1-Lipschitz,
//! `e_v <- (1 - a_v (1 - rho)) e_v + a_v |V_v| e_p` with the parent's new difference: a lower-triangular system, so in a
//! suitably weighted norm it contracts with the largest of the rates 1 - `a_v` (1 - rho), provided dt is bounded below.
//! (A spectral radius below 1 alone is not sufficient: Yildiz, Jaeger, Kiebel, "Re-visiting the echo state property", 2012.)

use crate::math::ln;
use crate::weights::{Lane, Membrane, UNITS};
use crate::{Network, NetworkError};

/// Nobody waits for more steps.
const MAX_BOUND: u64 = 1_000_000;

impl Network {
    /// The rate of contraction at a step of `dt` tokens: the largest 1 - a (1 - rho) over the levels.
    ///
    /// # Errors
    /// [`NetworkError::TimeStep`].
    pub fn contraction_rate(&self, dt: f64) -> Result<f64, NetworkError> {
        crate::kernel::check_step(0, dt)?;
        let slack = 1.0 - self.config().spectral_radius;
        Ok(self.rates(dt).iter().map(|&rate| 1.0 - f64::from(rate) * slack).fold(0.0, f64::max))
    }

    /// Steps of `dt` tokens after which the rate alone brings a difference of 2 (the largest there is) below `tolerance`.
    ///
    /// # Errors
    /// [`NetworkError::TimeStep`], and [`NetworkError::Setting`] for a tolerance outside (0, 1).
    pub fn washout(&self, tolerance: f64, dt: f64) -> Result<u64, NetworkError> {
        check_tolerance(tolerance)?;
        let steps = ln(tolerance / 2.0) / ln(self.contraction_rate(dt)?);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and far below 2^53")]
        Ok(steps.ceil() as u64)
    }

    /// Steps of `dt` tokens after which no two starts can differ by more than `tolerance` in any unit: the system above
    /// run with `|V_v|` bounded by sqrt(|V|_1 |V|_inf). A proof, so longer than [`Network::washout`].
    ///
    /// # Errors
    /// As [`Network::washout`]; and [`NetworkError::Setting`] where a million steps are not enough.
    pub fn washout_bound(&self, tolerance: f64, dt: f64) -> Result<u64, NetworkError> {
        check_tolerance(tolerance)?;
        self.contraction_rate(dt)?;
        let slack = 1.0 - self.config().spectral_radius;
        let rates: Vec<f64> = self.rates(dt).into_iter().map(f64::from).collect();
        let norms: Vec<f64> = self.membranes.iter().map(coupling_norm).collect();
        // Two states in [-1, 1]^64 differ by at most 2 sqrt(64) in the 2-norm.
        let mut apart = vec![16.0_f64; self.membranes.len()];
        let mut steps = 0;
        while apart.iter().any(|&value| value > tolerance) {
            if steps == MAX_BOUND {
                let value = self.config().spectral_radius;
                return Err(NetworkError::Setting { name: "spectral_radius", value, expected: "further below 1" });
            }
            for (number, membrane) in self.membranes.iter().enumerate() {
                let rate = rates[membrane.level];
                let above = membrane.parent.map_or(0.0, |parent| apart[parent]);
                apart[number] = (1.0 - rate * slack) * apart[number] + rate * norms[number] * above;
            }
            steps += 1;
        }
        Ok(steps)
    }
}

fn check_tolerance(value: f64) -> Result<(), NetworkError> {
    if value > 0.0 && value < 1.0 {
        return Ok(());
    }
    Err(NetworkError::Setting { name: "tolerance", value, expected: "above 0 and below 1" })
}

fn coupling_norm(membrane: &Membrane) -> f64 {
    let mut rows: Lane = [0.0; UNITS];
    let mut columns: Lane = [0.0; UNITS];
    for (sources, weights) in membrane.coupling_source.iter().zip(&membrane.coupling) {
        for unit in 0..UNITS {
            rows[unit] += weights[unit].abs();
            columns[usize::from(sources[unit]) % UNITS] += weights[unit].abs();
        }
    }
    let largest = |sums: &Lane| f64::from(sums.iter().copied().fold(0.0, f32::max));
    (largest(&rows) * largest(&columns)).sqrt()
}
