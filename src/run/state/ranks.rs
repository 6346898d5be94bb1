//! Times of a run's ranks per step: the latest ones, and their curves.

use super::RunState;
use crate::run::event::{Event, RankLayout, RankTimes};
use crate::run::series::pyramid::MOST_COLUMNS;

/// The curve of the exchange in [`Branch::times`](super::Branch::times).
pub const EXCHANGE: usize = 0;
/// The curve of the mean over ranks of the waiting in it.
pub const MEAN_WAIT: usize = 1;
/// Ranks whose curves are kept: as many as a series has room for.
const CURVES: usize = (MOST_COLUMNS - 2) / 2;

/// The curve of rank `rank`'s computation in [`Branch::times`](super::Branch::times).
pub fn compute_of(rank: usize) -> usize {
    2 + 2 * rank
}

/// The curve of rank `rank`'s waiting in [`Branch::times`](super::Branch::times).
pub fn wait_of(rank: usize) -> usize {
    3 + 2 * rank
}

impl RunState {
    pub(super) fn on_ranks(&mut self, event: &Event, times: &RankTimes) {
        let mut values = vec![times.exchange, times.mean_wait()];
        let wait = times
            .wait
            .iter()
            .copied()
            .chain(std::iter::repeat(f64::NAN));
        for (&compute, wait) in times.compute.iter().zip(wait).take(CURVES) {
            values.extend([compute, wait]);
        }
        let place = self.place(event);
        let live = &mut self.history.live;
        if live.times.push(place, &values) {
            let barriers = self.snapshots.barriers(live);
            live.times.gather(&barriers);
        }
        self.ranks = Some(times.clone());
    }

    /// Returns how the run's ranks are laid out, where it began with several.
    pub fn layout(&self) -> Option<&RankLayout> {
        self.info.as_ref()?.ranks.as_ref()
    }

    /// Returns the number of ranks that train the run, as far as it is known to be more than one.
    pub fn world(&self) -> Option<usize> {
        let world = self.layout().map(|ranks| ranks.world);
        world
            .or_else(|| self.ranks.as_ref().map(|r| r.world))
            .filter(|&n| n > 1)
    }

    /// Returns the times of the present ranks per step, according to the latest event; `None` in a run of one process, and before the first
    /// event of a run that was resumed with another number of ranks.
    pub fn rank_times(&self) -> Option<&RankTimes> {
        let world = self.world()?;
        self.ranks.as_ref().filter(|times| times.world == world)
    }
}
