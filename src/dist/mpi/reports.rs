//! The reports by which ranks hear each other, about once a second.

use std::ffi::c_void;
use std::time::Instant;

use super::calls::{Group, Kind, Library, Pending, Place};
use crate::dist::DistError;
use crate::dist::health::{self, Beat, Health};

/// A report on its way from or to another rank. The library uses the bytes while a request is under way.
#[derive(Debug)]
struct Wire {
    rank: usize,
    bytes: Box<[u8; health::BYTES]>,
    pending: Option<Pending>,
    /// After an error it is not used again.
    broken: bool,
}

impl Wire {
    fn to(rank: usize) -> Self {
        Self {
            rank,
            bytes: Box::new([0; health::BYTES]),
            pending: None,
            broken: false,
        }
    }

    /// Reads what has come, and waits for more.
    fn receive(&mut self, library: &Library, group: Group) -> Result<Vec<Beat>, String> {
        let mut beats = Vec::new();
        loop {
            if let Some(pending) = &mut self.pending {
                if !library.is_done(pending)? {
                    return Ok(beats);
                }
                beats.push(Beat::decode(&self.bytes));
            }
            let place = self.place();
            self.pending = Some(library.receive(group, place, self.rank)?);
        }
    }

    /// Sends a report, unless the one before is still under way.
    fn send(&mut self, library: &Library, group: Group, beat: &Beat) -> Result<(), String> {
        if let Some(pending) = &mut self.pending
            && !library.is_done(pending)?
        {
            return Ok(());
        }
        *self.bytes = beat.encode();
        let place = self.place();
        self.pending = Some(library.send(group, place, self.rank)?);
        Ok(())
    }

    fn place(&mut self) -> Place {
        let begin = self.bytes.as_mut_ptr().cast::<c_void>();
        // SAFETY: the boxed bytes stay where they are; they are read and written by this file only while no request is under
        // way, and leaked with the worker if one remains at its end.
        unsafe { Place::new(begin, health::BYTES, Kind::Bytes) }
    }
}

/// The reports from and to the ranks that this one hears.
pub struct Reports {
    group: Group,
    from: Vec<Wire>,
    to: Vec<Wire>,
    sent: Option<Instant>,
}

impl Reports {
    /// Reports from and to the ranks that `health` watches, in a group of their own.
    pub fn new(group: Group, health: &Health) -> Self {
        let wires = || health.ranks().map(Wire::to).collect();
        Self {
            group,
            from: wires(),
            to: wires(),
            sent: None,
        }
    }

    /// Makes the next report due at once.
    pub fn hurry(&mut self) {
        self.sent = None;
    }

    /// Receives and sends what is due. A rank that takes no more reports gets none.
    ///
    /// # Errors
    /// The first one, after all other ranks have been served.
    pub fn exchange(
        &mut self,
        library: &Library,
        own: &Beat,
        health: &mut Health,
        now: Instant,
    ) -> Result<(), DistError> {
        let mut failed = None;
        let mut note = |wire: &mut Wire, why: String| {
            wire.broken = true;
            failed.get_or_insert(DistError::Lost {
                rank: wire.rank,
                seen: why,
            });
        };
        let group = self.group;
        for wire in self.from.iter_mut().filter(|wire| !wire.broken) {
            match wire.receive(library, group) {
                Ok(beats) => {
                    for beat in beats {
                        health.hear(wire.rank, beat, now);
                    }
                }
                Err(why) => note(wire, why),
            }
        }
        let since = self.sent.map(|sent| now.saturating_duration_since(sent));
        if since.is_none_or(|since| since >= health::EVERY) {
            self.sent = Some(now);
            for wire in self.to.iter_mut().filter(|wire| !wire.broken) {
                if let Err(why) = wire.send(library, group, own) {
                    note(wire, why);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }
}
