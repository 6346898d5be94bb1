//! Measures the output to a terminal, and the work of threads, over a period of time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::common::pty::Pty;
use super::threads;

/// The measurements of a period of time.
pub struct Window {
    pub seconds: f64,
    pub bytes: usize,
    /// Writes of the program that arrived together.
    pub frames: usize,
    /// Seconds of CPU time by the names of threads.
    cpu: BTreeMap<String, f64>,
}

impl Window {
    /// Observes a terminal and the threads of a process for `time`.
    pub fn look(pty: &Pty, pid: u32, time: Duration) -> Self {
        let before = threads::cpu_seconds(pid);
        let began = Instant::now();
        std::thread::sleep(time);
        let ended = Instant::now();
        let after = threads::cpu_seconds(pid);
        let arrivals = pty.arrivals();
        let until = |time: Instant| arrivals.partition_point(|(at, _)| *at <= time);
        let (from, to) = (until(began), until(ended));
        let total = |parts: usize| parts.checked_sub(1).map_or(0, |i| arrivals[i].1);
        let (from_bytes, to_bytes) = (total(from), total(to));
        let written = pty.written();
        let mut cpu = BTreeMap::new();
        for (thread, seconds) in after {
            let earlier = before.get(&thread).copied().unwrap_or(0.0);
            *cpu.entry(thread.name).or_insert(0.0) += seconds - earlier;
        }
        Self {
            seconds: (ended - began).as_secs_f64(),
            bytes: to_bytes - from_bytes,
            frames: super::keys::frame_ends(&written[from_bytes..to_bytes]).count(),
            cpu,
        }
    }

    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds
    }

    fn sum(&self, of: impl Fn(&str) -> bool) -> f64 {
        let chosen = self.cpu.iter().filter(|(name, _)| of(name));
        100.0 * chosen.map(|(_, s)| s).sum::<f64>() / self.seconds
    }

    /// Returns the CPU time of all threads that do not train, in percent of one core.
    pub fn percent(&self) -> f64 {
        self.sum(|name| !threads::trains(name))
    }

    /// Returns the CPU time of the threads that train, in percent of one core.
    pub fn training_percent(&self) -> f64 {
        self.sum(threads::trains)
    }

    /// Lists the CPU time of each thread that does not train, if it used any.
    pub fn shares(&self) -> String {
        let chosen = self.cpu.iter().filter(|(name, _)| !threads::trains(name));
        let shares = chosen.map(|(name, s)| (name, 100.0 * s / self.seconds));
        let words: Vec<String> = shares
            .filter(|(_, percent)| *percent >= 0.005)
            .map(|(name, percent)| format!("{name} {percent:.2} %"))
            .collect();
        words.join(", ")
    }
}
