//! The latest events as lines, for clients that have just read the journal: bounded in number and in bytes. A client that
//! asks for more than is kept learns how many events it has missed.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::run::event::{Body, Event, Gap};

/// Events kept, and their bytes.
pub const EVENTS_KEPT: usize = 4096;
pub const BYTES_KEPT: usize = 4 << 20;
/// Events that a client receives at once, and their bytes not counting the last one's: together with its socket's
/// buffer, this bounds what waits for one client.
const EVENTS_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 64 << 10;
/// Ranges of skipped numbers that are remembered.
const SKIPS_KEPT: usize = 256;

/// An event's number, and its line in the journal.
pub type Numbered = (u64, Arc<str>);

/// Numbers that no event here had: they belong to events that are only in the journal's file.
#[derive(Debug)]
struct Skip {
    first: u64,
    last: u64,
    /// Numbers skipped before this range.
    before: u64,
}

/// The events kept, oldest first.
#[derive(Debug)]
pub struct Ring {
    events: VecDeque<Numbered>,
    bytes: usize,
    skips: VecDeque<Skip>,
    /// Number of the latest event.
    latest: u64,
}

impl Ring {
    /// An empty ring for a run whose latest event is number `latest`; 0 for a new run.
    pub fn new(latest: u64) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            skips: VecDeque::new(),
            latest,
        }
    }

    /// Number of the latest event.
    pub fn latest(&self) -> u64 {
        self.latest
    }

    /// Adds an event and forgets the oldest ones beyond the bounds.
    pub fn push(&mut self, event: &Event) {
        self.note_skipped(event);
        self.latest = event.seq;
        let line: Arc<str> = event.to_line().into();
        self.bytes += line.len();
        self.events.push_back((event.seq, line));
        while self.events.len() > EVENTS_KEPT || self.bytes > BYTES_KEPT {
            let Some((_, line)) = self.events.pop_front() else {
                break;
            };
            self.bytes -= line.len();
        }
    }

    /// A gap has the number of the last event it stands for, so that no number before it was skipped.
    fn note_skipped(&mut self, event: &Event) {
        let (first, last) = (self.latest + 1, event.seq.saturating_sub(1));
        if first > last || matches!(event.body, Body::Gap(_)) {
            return;
        }
        let before = self.skipped(u64::MAX);
        self.skips.push_back(Skip {
            first,
            last,
            before,
        });
        if self.skips.len() > SKIPS_KEPT {
            self.skips.pop_front();
        }
    }

    /// Count of numbers up to `seq` that no event had.
    fn skipped(&self, seq: u64) -> u64 {
        let until = self.skips.partition_point(|skip| skip.first <= seq);
        match until.checked_sub(1).map(|i| &self.skips[i]) {
            Some(skip) => skip.before + (seq.min(skip.last) - skip.first + 1),
            None => 0,
        }
    }

    /// Returns how many events after number `after` have been dropped.
    fn missed(&self, after: u64) -> u64 {
        let Some((oldest, _)) = self.events.front() else {
            return 0;
        };
        let numbers = oldest.saturating_sub(after.saturating_add(1));
        numbers.saturating_sub(self.skipped(*oldest).saturating_sub(self.skipped(after)))
    }

    /// The next events after number `after`, a few hundred at most.
    ///
    /// # Errors
    /// The number of events that the client has missed, when some have been dropped; the journal has them.
    pub fn after(&self, after: u64) -> Result<Vec<Numbered>, u64> {
        let missed = self.missed(after);
        if missed > 0 {
            return Err(missed);
        }
        let first = self.events.partition_point(|(seq, _)| *seq <= after);
        let mut bytes = 0;
        let fits = |(_, line): &&Numbered| {
            let fits = bytes < BYTES_AT_ONCE;
            bytes += line.len();
            fits
        };
        let following = self.events.iter().skip(first).take(EVENTS_AT_ONCE);
        Ok(following.take_while(fits).cloned().collect())
    }

    /// Returns a `gap` event that stands for the events after number `after` that have been dropped; `None` when all are kept.
    pub fn gap(&self, after: u64) -> Option<Event> {
        let dropped = self.missed(after);
        let (_, oldest) = self.events.front()?;
        // Only the line of an event is kept.
        let oldest = Event::from_line(oldest).ok()?;
        (dropped > 0).then(|| Event {
            seq: oldest.seq - 1,
            body: Body::Gap(Gap { dropped }),
            ..oldest
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::Log;

    fn event(seq: u64) -> Event {
        let message = "x".into();
        Event::numbered(seq, Body::Log(Log { message }))
    }

    fn seqs(events: Result<Vec<Numbered>, u64>) -> Result<Vec<u64>, u64> {
        events.map(|events| events.into_iter().map(|(seq, _)| seq).collect())
    }

    #[test]
    fn who_asks_for_more_than_is_kept_learns_how_many_are_missing() {
        let mut ring = Ring::new(0);
        assert_eq!((seqs(ring.after(0)), ring.gap(0)), (Ok(vec![]), None));
        (1..=10 + EVENTS_KEPT as u64).for_each(|seq| ring.push(&event(seq)));
        assert_eq!(ring.after(7), Err(3));
        assert_eq!((ring.after(10).unwrap()[0].0, ring.gap(10)), (11, None));
        let gap = ring.gap(7).unwrap();
        assert_eq!((gap.seq, gap.body), (10, Body::Gap(Gap { dropped: 3 })));
    }

    #[test]
    fn numbers_that_no_event_had_are_not_counted_as_missing() {
        // The run was resumed: 1 to 3 are in its journal, and 4 was a line that could not be read.
        let mut ring = Ring::new(3);
        ring.push(&event(5));
        assert_eq!(seqs(ring.after(3)), Ok(vec![5]));
        // 6 and 7 are only in the journal's file; 9 to 12 were lost on the way, and their gap has the last number.
        ring.push(&event(8));
        let body = Body::Gap(Gap { dropped: 4 });
        ring.push(&Event { body, ..event(12) });
        assert_eq!(seqs(ring.after(5)), Ok(vec![8, 12]));
        (13..13 + EVENTS_KEPT as u64).for_each(|seq| ring.push(&event(seq)));
        for (after, missed) in [(3, 6), (5, 5), (6, 5), (7, 5), (8, 4), (11, 1)] {
            assert_eq!(ring.after(after), Err(missed), "after {after}");
        }
        assert_eq!(ring.after(12).unwrap()[0].0, 13);
    }

    #[test]
    fn memory_and_what_one_client_is_given_stay_bounded_whatever_the_events() {
        let mut ring = Ring::new(0);
        for seq in 1..200 {
            let message = "y".repeat(100_000);
            let body = Body::Log(Log { message });
            ring.push(&Event { body, ..event(seq) });
        }
        assert!(ring.bytes <= BYTES_KEPT);
        let oldest = ring.events.front().unwrap().0;
        assert_eq!(seqs(ring.after(oldest - 1)), Ok(vec![oldest]));
        let mut ring = Ring::new(0);
        (1..=1000).for_each(|seq| ring.push(&event(seq)));
        assert_eq!(ring.after(0).unwrap().len(), EVENTS_AT_ONCE);
    }
}
