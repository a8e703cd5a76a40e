//! The tree reservoir: membranes of 64 units on a rooted tree, each level slower than the one above.
//!
//! For membrane v with state `x_v`, parent p and input u, all f32:
//!
//! ```text
//! s_v = W_v x_v + U_v u + b_v + V_v x_p        (the parent is updated first; no last term at the root)
//! a_v = 1 - exp(-dt / tau_v)                   (dt in tokens since the last sample)
//! x_v <- (1 - a_v) x_v + a_v tanh(s_v)
//! ```
//!
//! `W_v` is the spectral radius times a signed permutation times Givens layers, so it is a multiple of an orthogonal
//! matrix: its spectral radius is its 2-norm by construction. The update is exponential Euler of tau x' = -x + tanh(s)
//! and stays in [-1, 1] for every dt.
//!
//! The same seed, inputs and steps give the same bits on every machine: all arithmetic is additions, multiplications,
//! divisions and comparisons in a fixed order, without fused multiply-add and without the system's mathematics library.

mod config;
mod error;
mod half;
mod kernel;
mod limits;
mod math;
mod snapshot;
mod stability;
mod streams;
mod weights;

pub use config::{Config, MAX_INPUTS};
pub use error::NetworkError;
pub use half::Store;
pub use limits::MIN_STEP;
pub use math::{TANH_ERROR, tanh};
pub use streams::{StreamId, Streams};
pub use weights::{Network, UNITS};
