//! How many surplus events chance does not give.

/// Above so many events the binomial is close enough to the normal distribution.
const EXACT_EVENTS: u64 = 10_000;

/// The least threshold for at most `events` events in an epoch that holds alpha, the normal tail beyond `z`.
///
/// Under equal rates the surplus of the new version is a walk of up to `events` fair steps, with a standard deviation of
/// at most sqrt(events): the threshold is at least z sqrt(events), and so large that the exact binomial probability of
/// reaching it is at most alpha (the first alone exceeds it at times: 24 of 100 events have 1.05 % at z = 2.326).
#[must_use]
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "far below 2^53"
)]
pub fn threshold(z: f64, events: u64) -> u64 {
    let least = (z.max(0.0) * (events as f64).sqrt()).ceil().max(1.0) as u64;
    if events > EXACT_EVENTS {
        // Half of a step of 2 corrects for the normal distribution's being continuous.
        return least.saturating_add(1);
    }
    let alpha = normal_tail(z.max(0.0));
    // A walk of one step less may have the parity that the threshold needs.
    let holds = |theta: &u64| [events, events.saturating_sub(1)].iter().all(|steps| reaches(*steps, *theta) <= alpha);
    (least..=events).find(holds).unwrap_or(least.max(events + 1))
}

/// The probability that a walk of fair steps ends at `theta` or above.
#[allow(clippy::cast_precision_loss, reason = "at most 10,000 steps")]
fn reaches(steps: u64, theta: u64) -> f64 {
    let first = (steps + theta).div_ceil(2);
    if first > steps {
        return 0.0;
    }
    // The first term by logarithms, as 2^-steps is below what f64 holds.
    let choices: f64 = (1..=steps - first).map(|place| ((first + place) as f64 / place as f64).ln()).sum();
    let start = (choices - steps as f64 * std::f64::consts::LN_2).exp();
    let terms = (first..steps).scan(start, |term, up| {
        *term *= (steps - up) as f64 / (up + 1) as f64;
        Some(*term)
    });
    start + terms.sum::<f64>()
}

/// The standard normal probability above z >= 0.
fn normal_tail(z: f64) -> f64 {
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if z > 3.0 {
        // Laplace's continued fraction.
        return density / (1..=100).rev().fold(z, |rest, term| z + f64::from(term) / rest);
    }
    // Marsaglia's series, J. Stat. Software 11, 2004.
    let mut term = z;
    let sum = (1..=60).fold(z, |sum, place| {
        term *= z * z / f64::from(2 * place + 1);
        sum + term
    });
    0.5 - density * sum
}

#[cfg(test)]
mod tests {
    use super::{normal_tail, reaches, threshold};

    #[test]
    fn tails_are_the_tables() {
        for (z, tail) in [(0.0, 0.5), (1.0, 0.158_655_253_9), (2.326_347_874, 0.01), (3.090_232_306, 0.001)] {
            assert!((normal_tail(z) - tail).abs() < 1e-10, "{z}");
        }
        assert!((normal_tail(6.0) / 9.865_876_45e-10 - 1.0).abs() < 1e-8);
    }

    #[test]
    fn walks_are_counted_exactly() {
        // Of 4 steps 1, 4, 6, 4, 1 of 16 end at 4, 2, 0, -2, -4.
        let expected = [(1, 5.0), (2, 5.0), (3, 1.0), (4, 1.0), (5, 0.0)];
        for (theta, ways) in expected {
            assert!((reaches(4, theta) - ways / 16.0).abs() < 1e-12, "{theta}");
        }
        assert!((reaches(100, 24) - 0.010_489_367_8).abs() < 1e-9, "{}", reaches(100, 24));
    }

    #[test]
    fn no_number_of_events_exceeds_alpha() {
        let mut raised = 0;
        for z in [1.645, 2.326, 3.09] {
            for events in 1..=400 {
                let theta = threshold(z, events);
                let worst = |theta| (0..=events).map(|steps| reaches(steps, theta)).fold(0.0, f64::max);
                let alpha = normal_tail(z);
                assert!(worst(theta) <= alpha * (1.0 + 1e-9), "{z} {events} {theta}");
                let formula = z * f64::from(u32::try_from(events).unwrap()).sqrt();
                let theta = f64::from(u32::try_from(theta).unwrap());
                assert!(theta >= formula && theta <= formula + 3.0, "{z} {events} {theta}");
                raised += u32::from(theta >= formula + 1.0);
            }
        }
        assert!(raised > 0);
    }

    #[test]
    fn extremes_have_a_threshold() {
        assert_eq!((threshold(0.0, 0), threshold(f64::NAN, 5) >= 1, threshold(-3.0, 1)), (1, true, 1));
        assert_eq!(threshold(2.0, 10_000_000_000), 200_001);
    }
}
