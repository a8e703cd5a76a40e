//! B-series of Runge-Kutta methods, exact.
//!
//! A B-series is B(a, y) = y + sum over rooted trees t of h^|t| / sigma(t) * a(t) * F(t)(y), in the normalisation of
//! Hairer, Lubich and Wanner, "Geometric Numerical Integration", chapter III. A Runge-Kutta method has a = Phi, its
//! elementary weights; the exact solution has a = 1 / gamma; the method is of order p where both agree on all trees of up
//! to p nodes. Everything is exact in Q, or in Q(sqrt d) for methods such as Gauss (d = 3) and Radau IIA (d = 6).

mod algebra;
mod cache;
mod catalogue;
mod error;
mod file;
mod forest;
mod integers;
mod limits;
mod number;
mod series;
mod tableau;

pub use algebra::{MAX_ALGEBRA_ORDER, compose, modified, scaled};
pub use cache::{Cache, Counters};
pub use catalogue::{NAMES, tableau};
pub use error::SeriesError;
pub use forest::{Forest, forest};
pub use limits::{MAX_ORDER, MAX_STAGES, TREE_COUNTS};
pub use number::Number;
pub use series::{Series, exact};
pub use tableau::Tableau;
