//! Decides which checkpoints stay on disk, and keeps track of those that are there.

use super::{Keeping, pre_grow};
use crate::train::state::{Kept, Task};

impl Keeping<'_> {
    /// Deletes the oldest checkpoints beyond `checkpoint.keep` that are neither milestones, nor the best, nor the reference.
    pub(super) fn retain(&mut self) {
        let best = self.state.best.as_ref().map(|(name, _)| name.clone());
        let reference = self.state.reference_checkpoint.clone();
        let needed = [best, reference];
        let spare = |k: &Kept| !k.milestone && !needed.iter().flatten().any(|n| *n == k.name);
        let count = self.state.kept.len();
        let newest = count.saturating_sub(self.keep);
        let gone: Vec<Kept> = self.state.kept[..newest]
            .iter()
            .filter(|k| spare(k))
            .cloned()
            .collect();
        for kept in gone {
            // One that is gone already (deleted by hand) needs no removal.
            let there = self.keeper.checkpoints.has(&kept.name);
            if there && let Err(error) = self.keeper.checkpoints.remove(&kept.name) {
                self.warn(format!(
                    "old checkpoint {} was not removed: {error}",
                    kept.name
                ));
            }
            self.state.kept.retain(|k| *k != kept);
        }
    }

    /// Sets the links that a process killed just after writing checkpoint `name` has not set.
    pub(in crate::train) fn mend_links(&mut self, name: &str) {
        let mut links = vec![("latest".to_string(), Some(name.to_string()))];
        let best = self.state.best.as_ref().map(|(best, _)| best.clone());
        links.push(("best".into(), best));
        links.push(("reference".into(), self.state.reference_checkpoint.clone()));
        if let Task::Grow { .. } = self.state.task {
            self.keeper.before_growth = Some(name.into());
            links.push((pre_grow(self.state.round()), Some(name.into())));
        }
        for (link, name) in links {
            let there = name.filter(|name| self.keeper.checkpoints.has(name));
            if let Some(name) = there
                && self.keeper.checkpoints.resolve(&link).ok().as_ref() != Some(&name)
            {
                self.link(&link, &name);
            }
        }
    }

    /// Compares the state with the checkpoints on disk: an interrupted process may have written some that the resumed state does not know,
    /// and deleted some that it knows. Checkpoints that are newer than the resumed state, or cannot be read, are never deleted.
    pub(in crate::train) fn take_stock(&mut self) {
        let seq = self.state.seq;
        let mut kept: Vec<(u64, Kept)> = Vec::new();
        for name in self.keeper.checkpoints.names() {
            let state = self.keeper.checkpoints.state(&name).ok();
            let own = state.as_ref().and_then(|s| s.kept.last());
            let newer = state.as_ref().is_none_or(|s| s.seq > seq);
            let milestone = newer || own.is_none_or(|k| k.milestone);
            kept.push((state.map_or(0, |s| s.seq), Kept { name, milestone }));
        }
        kept.sort_by_key(|(seq, _)| *seq);
        self.state.kept = kept.into_iter().map(|(_, kept)| kept).collect();
        self.look_for_best();
    }

    /// Forgets a best checkpoint that has been deleted.
    pub(in crate::train) fn look_for_best(&mut self) {
        let there = |name: &String| self.state.kept.iter().any(|k| k.name == *name);
        if self
            .state
            .best
            .as_ref()
            .is_some_and(|(best, _)| !there(best))
        {
            self.state.best = None;
        }
    }
}
