//! Limits the rate of frames for new data by their bytes and their CPU time.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// The shortest time between two frames for data.
const SHORTEST: Duration = Duration::from_millis(250);
/// The longest time between two such frames, which is also used while the terminal does not keep up.
const LONGEST: Duration = Duration::from_secs(1);
/// Bytes a second that these frames may take, because an SSH connection has other traffic.
const BYTES: f64 = 900.0;
/// Share of a core that these frames may take from training.
const CPU: f64 = 0.0025;

/// The time between frames for data. The effects of keys are drawn at once, at any cost.
#[derive(Debug)]
pub struct Pace {
    gap: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { gap: SHORTEST }
    }
}

impl Pace {
    /// Returns the time to wait after the last frame before a frame for data. `keeps_up` is whether the terminal has taken all frames.
    pub fn gap(&self, keeps_up: bool) -> Duration {
        if keeps_up { self.gap } else { LONGEST }
    }

    /// Makes the next frame wait so long that this frame's bytes and CPU time stay within the budgets.
    pub fn drew_data(&mut self, bytes: usize, cpu: Duration) {
        let seconds = (bytes as f64 / BYTES).max(cpu.as_secs_f64() / CPU);
        self.gap = Duration::from_secs_f64(seconds).clamp(SHORTEST, LONGEST);
    }

    /// Lets data come soon after a key: the key's frame may be large, but keys are few.
    pub fn drew_for_a_key(&mut self) {
        self.gap = SHORTEST;
    }
}

/// Returns the CPU time that the calling thread has used so far; zero if it is not known.
pub fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD);
    usage.map_or(Duration::ZERO, |usage| {
        [usage.user_time(), usage.system_time()]
            .map(|t| Duration::from_micros(t.num_microseconds().unsigned_abs()))
            .iter()
            .sum()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn gap_after(bytes: usize, cpu: Duration) -> Duration {
        let mut pace = Pace::default();
        pace.drew_data(bytes, cpu);
        pace.gap(true)
    }

    #[test]
    fn data_takes_less_than_a_kilobyte_a_second_and_at_most_four_frames() {
        for bytes in [0, 50, 225, 300, 500, 900] {
            let gap = gap_after(bytes, Duration::ZERO);
            assert!(gap >= SHORTEST && gap <= LONGEST, "{bytes}: {gap:?}");
            let rate = bytes as f64 / gap.as_secs_f64();
            assert!(rate <= 1000.0, "{bytes}: {gap:?}");
        }
        let quick = gap_after(100, Duration::from_micros(400));
        assert_eq!(quick, SHORTEST, "small frames do not wait longer");
        let large = gap_after(20_000, Duration::ZERO);
        assert_eq!(large, LONGEST, "the screen never stands still for long");
    }

    #[test]
    fn frames_that_take_long_to_draw_come_less_often() {
        for micros in [100, 800, 1500, 2400] {
            let gap = gap_after(0, Duration::from_micros(micros));
            let share = micros as f64 / 1e6 / gap.as_secs_f64();
            assert!(share <= 0.0026, "{micros} us every {gap:?}");
        }
    }

    #[test]
    fn a_key_lets_data_come_soon_and_a_slow_line_does_not() {
        let mut pace = Pace::default();
        pace.drew_data(800, Duration::ZERO);
        assert!(pace.gap(true) > SHORTEST);
        pace.drew_for_a_key();
        assert_eq!(pace.gap(true), SHORTEST);
        assert_eq!(pace.gap(false), LONGEST);
    }

    #[test]
    fn the_time_of_this_thread_grows_with_its_work() {
        let before = cpu_time();
        let began = Instant::now();
        let mut sum = 0u64;
        while cpu_time() == before && began.elapsed() < Duration::from_secs(10) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_time() > before);
    }
}
