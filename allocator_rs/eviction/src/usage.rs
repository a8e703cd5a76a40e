//! How often each model is used, forgotten over several horizons at once.

use std::collections::BTreeMap;

/// Horizons, as multiples of the shortest: of what has been forgotten on the short ones the long ones still know.
const HORIZONS: [f64; 4] = [1.0, 8.0, 64.0, 512.0];
const MILLISECONDS: f64 = 1_000.0;

/// Uses of each model. A use counts half after a half-life, on four half-lives side by side, so that a rate answers to a burst
/// and still remembers the week: their mean falls off nearly as a power of time, for which no single time scale has to be
/// guessed.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    half_life_ms: u64,
    counts: BTreeMap<String, Count>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Count {
    at_ms: u64,
    uses: [f64; HORIZONS.len()],
}

impl Usage {
    /// Nothing seen yet. `half_life_ms`: of the shortest horizon; 0 counts as 1.
    #[must_use]
    pub fn new(half_life_ms: u64) -> Self {
        Self { half_life_ms: half_life_ms.max(1), counts: BTreeMap::new() }
    }

    /// Count `uses` of a model. Time that runs backwards counts as no time.
    pub fn record(&mut self, id: &str, uses: u32, now_ms: u64) {
        let faded = self.faded(id, now_ms);
        let count = Count { at_ms: now_ms.max(self.last_ms(id)), uses: faded.map(|one| one + f64::from(uses)) };
        self.counts.insert(id.to_owned(), count);
    }

    /// Expected uses per second.
    #[must_use]
    pub fn rate(&self, id: &str, now_ms: u64) -> f64 {
        let faded = self.faded(id, now_ms);
        let per_second = |(uses, multiple): (f64, f64)| uses * std::f64::consts::LN_2 / (self.half_life_s() * multiple);
        faded.into_iter().zip(HORIZONS).map(per_second).sum::<f64>() / horizons()
    }

    /// Forget models whose every use has faded below `least` uses; how many were forgotten.
    pub fn forget(&mut self, least: f64, now_ms: u64) -> usize {
        let before = self.counts.len();
        let kept: BTreeMap<_, _> = self
            .counts
            .iter()
            .filter(|(id, _)| self.faded(id, now_ms).into_iter().any(|uses| uses >= least))
            .map(|(id, count)| (id.clone(), *count))
            .collect();
        self.counts = kept;
        before.saturating_sub(self.counts.len())
    }

    fn last_ms(&self, id: &str) -> u64 {
        self.counts.get(id).map_or(0, |count| count.at_ms)
    }

    fn faded(&self, id: &str, now_ms: u64) -> [f64; HORIZONS.len()] {
        let Some(count) = self.counts.get(id) else {
            return [0.0; HORIZONS.len()];
        };
        let half_lives = seconds(now_ms.saturating_sub(count.at_ms)) / self.half_life_s();
        let mut uses = count.uses;
        for (one, multiple) in uses.iter_mut().zip(HORIZONS) {
            *one *= (-half_lives / multiple).exp2();
        }
        uses
    }

    fn half_life_s(&self) -> f64 {
        seconds(self.half_life_ms)
    }
}

#[allow(clippy::cast_precision_loss, reason = "four")]
const fn horizons() -> f64 {
    HORIZONS.len() as f64
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of 285,000 years are exact")]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / MILLISECONDS
}

#[cfg(test)]
mod tests {
    use super::Usage;

    #[test]
    fn a_steady_rate_is_found() {
        let mut usage = Usage::new(1_000);
        for second in 0..20_000 {
            usage.record("m", 2, second * 1_000);
        }
        let rate = usage.rate("m", 20_000_000);
        assert!((1.5..2.1).contains(&rate), "{rate}");
    }

    #[test]
    fn old_uses_count_less() {
        let mut usage = Usage::new(60_000);
        usage.record("old", 10, 0);
        usage.record("new", 10, 600_000);
        assert!(usage.rate("new", 600_000) > 2.0 * usage.rate("old", 600_000));
        assert!(usage.rate("never", 600_000).abs() < f64::EPSILON);
    }

    #[test]
    fn time_never_runs_backwards() {
        let mut usage = Usage::new(1_000);
        usage.record("m", 1, 5_000);
        usage.record("m", 1, 4_000);
        assert!(usage.rate("m", 5_000) > 0.0);
        assert!((usage.rate("m", 5_000) - usage.rate("m", 3_000)).abs() < f64::EPSILON);
    }

    #[test]
    fn what_has_faded_is_forgotten() {
        let mut usage = Usage::new(1_000);
        usage.record("old", 1, 0);
        usage.record("new", 1, 10_000_000);
        assert_eq!(usage.forget(0.01, 10_000_000), 1);
        assert!(usage.rate("new", 10_000_000) > 0.0);
    }
}
