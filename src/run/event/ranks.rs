//! The processes (ranks) that train a run, and how each of them spent the time of a step.

use serde::{Deserialize, Serialize};

use super::foreign::{LONGEST_NAME, counted, cut, most};
use super::kind::{DropOrder, Kind};
use crate::text;

/// Ranks of a run.
pub(in crate::run) const MOST_RANKS: u64 = 1 << 10;
/// Bytes of a launcher's name.
const LONGEST_LAUNCHER: usize = 32;
/// Decimal digits of every time.
const DIGITS: i32 = 4;

/// The ranks of a run of more than one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankLayout {
    /// Number of ranks.
    pub world: usize,
    /// The library that connects the ranks, and the program that started them: `mpi (mpirun)`, `nccl (torchrun)`.
    pub launcher: String,
    /// The machines, each once, in the order of their first rank.
    pub hosts: Vec<String>,
}

impl RankLayout {
    /// Describes it: `4 ranks (mpi)`, `16 ranks on 2 hosts (nccl)`.
    pub fn words(&self) -> String {
        let hosts = match self.hosts.len() {
            0 | 1 => String::new(),
            n => format!(" on {n} hosts"),
        };
        let launcher = match self.launcher.as_str() {
            "" => String::new(),
            name => format!(" ({name})"),
        };
        format!("{}{hosts}{launcher}", text::plural(self.world, "rank"))
    }

    /// Truncates texts that are too long for a screen.
    pub(super) fn shorten(&mut self) {
        cut(&mut self.launcher, LONGEST_LAUNCHER);
        self.hosts.iter_mut().for_each(|h| cut(h, LONGEST_NAME));
    }

    /// Rejects numbers outside the limits of a run.
    ///
    /// # Errors
    /// Describes the first such number.
    pub(super) fn check(&self) -> Result<(), String> {
        most("ranks.world", self.world as u64, MOST_RANKS)?;
        most("ranks.hosts", self.hosts.len() as u64, MOST_RANKS)
    }
}

/// The time of one rank over some steps, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RankSeconds {
    /// Time in which it computed.
    pub compute: f64,
    /// Time in which it did nothing but wait for other ranks.
    pub wait: f64,
    /// Time from the start of each step's first exchange to the end of its last one, computation meanwhile included.
    pub exchange: f64,
}

/// Times of the ranks per step, averaged over the steps since the last such event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RankTimes {
    /// The steps over which times are averaged.
    pub steps: u64,
    /// Number of ranks.
    pub world: usize,
    /// Seconds per step in which each rank computed; to four digits, as all times.
    pub compute: Vec<f64>,
    /// Seconds per step in which each rank waited.
    pub wait: Vec<f64>,
    /// Seconds per step from the start of the first exchange to the end of the last one, of the rank where that is
    /// shortest: others started earlier and waited for it.
    pub exchange: f64,
}

impl RankTimes {
    /// Averages the times of the ranks, in their order, over `steps` steps.
    pub fn of(steps: u64, ranks: &[RankSeconds]) -> Self {
        let n = steps.max(1) as f64;
        let all = |time: fn(&RankSeconds) -> f64| ranks.iter().map(move |r| rounded(time(r) / n));
        let shortest = all(|r| r.exchange).reduce(f64::min);
        Self {
            steps,
            world: ranks.len(),
            compute: all(|r| r.compute).collect(),
            wait: all(|r| r.wait).collect(),
            exchange: shortest.unwrap_or(0.0),
        }
    }

    /// Returns the rank that computed longest, with its seconds per step; `None` without ranks.
    pub fn slowest(&self) -> Option<(usize, f64)> {
        let all = self.compute.iter().copied().enumerate();
        // Of equal ones the first.
        all.rev().max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Returns the mean time that ranks waited, in seconds per step.
    pub fn mean_wait(&self) -> f64 {
        self.wait.iter().sum::<f64>() / self.wait.len().max(1) as f64
    }

    /// Returns by how much the slowest rank computed longer than the ranks do on average; 0.1 is ten percent.
    pub fn lag(&self) -> f64 {
        let mean = self.mean_compute();
        match self.slowest() {
            Some((_, seconds)) if mean > 0.0 => seconds / mean - 1.0,
            _ => 0.0,
        }
    }

    /// Returns the share of a step's time in which ranks waited, on average.
    pub fn wait_share(&self) -> f64 {
        let (wait, compute) = (self.mean_wait(), self.mean_compute());
        match wait + compute > 0.0 {
            true => wait / (wait + compute),
            false => 0.0,
        }
    }

    /// Names the slowest rank: `slowest 5 (+12 %)`.
    pub fn slowest_words(&self) -> Option<String> {
        let (rank, _) = self.slowest()?;
        Some(format!("slowest {rank} (+{:.0} %)", 100.0 * self.lag()))
    }

    /// Puts them into a few words: `computing 412 ms a step, waiting 21 ms (5 %), exchange 30 ms, slowest 5 (+12 %)`.
    pub fn words(&self) -> String {
        let mut words = format!(
            "computing {} a step, waiting {} ({:.0} %), exchange {}",
            time_words(self.mean_compute()),
            time_words(self.mean_wait()),
            100.0 * self.wait_share(),
            time_words(self.exchange),
        );
        if let Some(slowest) = self.slowest_words() {
            words.push_str(", ");
            words.push_str(&slowest);
        }
        words
    }

    /// Rejects numbers outside the limits of a run.
    ///
    /// # Errors
    /// Describes the first such number.
    pub(in crate::run) fn check_numbers(&self) -> Result<(), String> {
        counted("steps", self.steps)?;
        for (what, n) in [
            ("world", self.world),
            ("compute", self.compute.len()),
            ("wait", self.wait.len()),
        ] {
            most(what, n as u64, MOST_RANKS)?;
        }
        Ok(())
    }

    /// Returns the mean time that ranks computed, in seconds per step.
    pub fn mean_compute(&self) -> f64 {
        self.compute.iter().sum::<f64>() / self.compute.len().max(1) as f64
    }
}

/// A short time with three digits or less: `21 ms`, `1.23 s`.
pub fn time_words(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "-".into(),
        s if s < 0.000_95 => format!("{:.1} ms", 1000.0 * s.max(0.0)),
        s if s < 0.999_5 => format!("{:.0} ms", 1000.0 * s),
        s if s < 9.995 => format!("{s:.2} s"),
        s if s < 99.95 => format!("{s:.1} s"),
        s => format!("{s:.0} s"),
    }
}

/// Rounds a time to [`DIGITS`] decimal digits, so that many ranks stay a short line; 0 for times that are not finite or not positive.
fn rounded(seconds: f64) -> f64 {
    if !seconds.is_finite() || seconds <= 0.0 {
        return 0.0;
    }
    // Shorter than a nanosecond is nothing.
    let places = (DIGITS - 1 - seconds.log10().floor() as i32).clamp(0, 9);
    let scale = 10f64.powi(places);
    (seconds * scale).round() / scale
}

impl Kind for RankTimes {
    const DROPPED: DropOrder = DropOrder::First;

    fn check(&self) -> Result<(), String> {
        self.check_numbers()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Event, FORMAT_VERSION, Phase};
    use super::*;

    fn line(times: RankTimes) -> String {
        let body = Body::Ranks(times);
        Event {
            v: FORMAT_VERSION,
            seq: 7,
            t: 1_700_000_000_000,
            elapsed: 1.5,
            step: 42,
            phase: Phase::Round(2),
            phase_step: 2,
            branch: 0,
            body,
        }
        .to_line()
    }

    #[test]
    fn times_are_means_over_steps_to_four_digits() {
        let rank = |compute, wait, exchange| RankSeconds {
            compute,
            wait,
            exchange,
        };
        let ranks = [rank(1.0, 0.5, 0.25), rank(1.234_567, 1e-12, 0.1)];
        let times = RankTimes::of(3, &ranks);
        assert_eq!((times.steps, times.world), (3, 2));
        assert_eq!(times.compute, [0.3333, 0.4115]);
        assert_eq!(times.wait, [0.1667, 0.0]);
        assert_eq!(times.exchange, 0.033_33);
        assert_eq!(times.slowest(), Some((1, 0.4115)));
        let equal = RankTimes::of(1, &[rank(1.0, 0.0, 0.0); 3]);
        assert_eq!(equal.slowest(), Some((0, 1.0)));
        assert_eq!(RankTimes::of(0, &[]).slowest(), None);
        assert_eq!(rounded(123.456), 123.5);
        assert_eq!(rounded(12_345.6), 12_346.0);
        assert_eq!(rounded(f64::NAN), 0.0);
    }

    #[test]
    fn many_ranks_are_a_short_line() {
        let rank = RankSeconds {
            compute: 10.0 / 3.0,
            wait: 1.0 / 30.0,
            exchange: 0.2 / 3.0,
        };
        let line = line(RankTimes::of(10, &[rank; 64]));
        assert!(line.len() < 1400, "{}", line.len());
        let Body::Ranks(back) = Event::from_line(&line).unwrap().body else {
            panic!("{line}")
        };
        assert_eq!(back, RankTimes::of(10, &[rank; 64]));
    }

    #[test]
    fn more_ranks_than_any_run_has_are_refused() {
        let times = RankTimes::of(1, &[RankSeconds::default(); 1025]);
        let e = Event::from_line(&line(times)).unwrap_err().to_string();
        assert!(e.contains("1025, beyond 1024"), "{e}");
    }

    #[test]
    fn times_are_put_into_words() {
        let rank = |compute| RankSeconds {
            compute,
            wait: 0.1,
            exchange: 0.03,
        };
        let times = RankTimes::of(1, &[rank(0.3), rank(0.3), rank(0.6)]);
        assert_eq!(
            times.words(),
            "computing 400 ms a step, waiting 100 ms (20 %), exchange 30 ms, slowest 2 (+50 %)"
        );
        let words = [0.0, 0.0004, 0.0213, 0.9999, 9.99, 12.34, 123.4].map(time_words);
        let expected = [
            "0.0 ms", "0.4 ms", "21 ms", "1.00 s", "9.99 s", "12.3 s", "123 s",
        ];
        assert_eq!(words, expected);
        assert_eq!(time_words(f64::NAN), "-");
    }

    #[test]
    fn a_layout_is_described() {
        let layout = |world, hosts: &[&str]| RankLayout {
            world,
            launcher: "mpi".into(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(layout(4, &["a"]).words(), "4 ranks (mpi)");
        assert_eq!(layout(16, &["a", "b"]).words(), "16 ranks on 2 hosts (mpi)");
    }
}
