//! The validation windows of a run, as its journal and its screens describe them.

use serde::{Deserialize, Serialize};

/// The number of validation windows of a run, and the largest number that is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvalWindows {
    /// Windows of every evaluation.
    pub windows: usize,
    /// The number that `eval.windows` asks for.
    pub asked: usize,
    /// The most that do not overlap (`eval::disjoint_windows`).
    pub disjoint: usize,
    /// Tokens of one window.
    pub time: usize,
}

impl EvalWindows {
    /// The windows of a new run: as many as asked for, but none that overlap.
    pub fn of_new_run(asked: usize, disjoint: usize, time: usize) -> Self {
        Self {
            windows: asked.min(disjoint),
            asked,
            disjoint,
            time,
        }
    }

    /// Returns the windows of a run that has evaluated `stored` of them so far, so that its losses stay comparable;
    /// `None` when `asked` means another number. (Runs of earlier versions may have windows that overlap.)
    pub fn of_resumed_run(
        asked: usize,
        disjoint: usize,
        time: usize,
        stored: usize,
    ) -> Option<Self> {
        let capped = Self::of_new_run(asked, disjoint, time);
        (stored == asked || stored == capped.windows).then_some(Self {
            windows: stored,
            ..capped
        })
    }

    /// Whether neighbouring windows share tokens, so that errors are taken over blocks.
    pub fn overlap(&self) -> bool {
        self.windows > self.disjoint
    }

    /// Returns by what factor a standard error is too small that treats overlapping windows as independent, as earlier
    /// versions did: sqrt((n - 1) / (B - 1)) for n windows and B disjoint blocks. `None` where they do not overlap, or
    /// B is 1.
    pub fn understated(&self) -> Option<f64> {
        let (n, blocks) = (self.windows as f64, self.disjoint as f64);
        (self.overlap() && self.disjoint > 1).then(|| ((n - 1.0) / (blocks - 1.0)).sqrt())
    }

    /// Explains where the windows differ from those that were asked for.
    pub fn note(&self) -> Option<String> {
        let Self {
            windows,
            asked,
            disjoint,
            time,
        } = self;
        let plural = if *windows == 1 { "" } else { "s" };
        if self.overlap() {
            return Some(format!(
                "the {windows} validation windows of {time} tokens overlap: errors are taken over the {disjoint} disjoint blocks of the text"
            ));
        }
        (windows < asked).then(|| {
            format!(
                "{windows} validation window{plural} of {time} tokens, not the {asked} of eval.windows: more would overlap, and overlapping windows add no evidence"
            )
        })
    }

    /// Warns where no error can be measured.
    pub fn warning(&self) -> Option<String> {
        (self.windows.min(self.disjoint) < 2).then(|| {
            format!(
                "the validation text holds one window of {} tokens: gaps have no standard error, and no round can match the reference; give more validation text (data.val, data.val_fraction) or shorter windows (train.context_length)",
                self.time
            )
        })
    }

    /// Describes the windows in a few words, for headers: `23 windows (256 asked)`.
    pub fn words(&self) -> Option<String> {
        if self.overlap() {
            return Some(format!(
                "{} windows, errors over {} blocks",
                self.windows, self.disjoint
            ));
        }
        let plural = if self.windows == 1 { "" } else { "s" };
        (self.windows < self.asked)
            .then(|| format!("{} window{plural} ({} asked)", self.windows, self.asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resume_keeps_its_windows_and_a_new_run_takes_none_that_overlap() {
        let new = EvalWindows::of_new_run(256, 23, 128);
        assert_eq!((new.windows, new.overlap()), (23, false));
        assert!(new.note().unwrap().contains("not the 256 of eval.windows"));
        assert_eq!(EvalWindows::of_new_run(16, 23, 128).note(), None);
        let resumed = |asked, stored| EvalWindows::of_resumed_run(asked, 23, 128, stored);
        let old = resumed(256, 256).unwrap();
        assert!((old.understated().unwrap() - (255f64 / 22.0).sqrt()).abs() < 1e-12);
        assert_eq!(new.understated(), None);
        assert!(old.overlap() && old.note().unwrap().contains("23 disjoint blocks"));
        assert_eq!(resumed(256, 23), Some(new));
        assert_eq!(resumed(100, 23).map(|w| w.windows), Some(23));
        assert_eq!(resumed(16, 23), None);
        assert_eq!(resumed(100, 256), None);
        let one = EvalWindows::of_new_run(8, 1, 128);
        assert!(one.warning().is_some() && new.warning().is_none());
    }
}
