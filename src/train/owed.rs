//! Small files that could not be written yet: links to checkpoints and the files of probes. Training continues, and
//! they are retried every second until the disk accepts them.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::trainer::Trainer;
use crate::fault;
use crate::rank::{Beside, ProbeResult};
use crate::run::event::{Body, Log};
use crate::run::journal::Place;

/// Files of probes that wait before the oldest is given up: each is a few KB.
const PROBES_WAITING: usize = 256;

/// What is still to be written.
#[derive(Default)]
pub(super) struct Owed {
    /// Links under `checkpoints/`, and the checkpoints they are to point at.
    links: BTreeMap<String, String>,
    /// Oldest first.
    probes: VecDeque<Probe>,
    /// Whether the operator knows that something waits.
    told: bool,
    dropped: u64,
}

/// A probe's file under `rank/`, and what it is to hold.
struct Probe {
    name: String,
    result: ProbeResult,
    beside: Beside,
}

impl Owed {
    fn is_empty(&self) -> bool {
        self.links.is_empty() && self.probes.is_empty()
    }
}

impl Trainer {
    /// Points a link at a checkpoint, retrying later if that fails: a resume continues from `latest`.
    pub(super) fn link(&mut self, link: &str, name: &str) {
        self.owed.links.insert(link.into(), name.into());
        self.write_owed();
    }

    /// Writes the file of a probe, now or as soon as that can be done.
    pub(super) fn keep_probe(&mut self, name: String, result: ProbeResult, beside: Beside) {
        if self.owed.probes.len() == PROBES_WAITING {
            self.owed.probes.pop_front();
            self.owed.dropped += 1;
        }
        self.owed.probes.push_back(Probe {
            name,
            result,
            beside,
        });
        self.write_owed();
    }

    /// Writes what is still to be written. Failures are reported once, and once that they are over.
    pub(super) fn write_owed(&mut self) {
        // What lies in the directory's place now is another run's.
        if self.owed.is_empty() || self.journal.place() == Place::Replaced {
            return;
        }
        let news = self.write_links().and_then(|()| self.write_probes());
        match news {
            Ok(()) if std::mem::take(&mut self.owed.told) => {
                let message = match std::mem::take(&mut self.owed.dropped) {
                    0 => "links and probe files are written again; none is missing".to_string(),
                    n => format!(
                        "links and probe files are written again; {n} probe files were given up"
                    ),
                };
                self.emit(Body::Log(Log { message }));
            }
            Ok(()) => {}
            Err(_) if self.owed.told => {}
            Err(why) => {
                self.owed.told = true;
                self.warn(format!("{why}; it is tried again every second"));
            }
        }
    }

    fn write_links(&mut self) -> Result<(), String> {
        let links: Vec<_> = self.owed.links.clone().into_iter().collect();
        for (link, name) in links {
            // A checkpoint that has been deleted meanwhile needs no link.
            let there = self.checkpoints.has(&name);
            let written = match fault::fails_at(&format!("link {link}")) {
                true => Err(io::Error::from(io::ErrorKind::StorageFull).to_string()),
                false if there => {
                    let linked = self.checkpoints.link(&link, &name);
                    linked.map_err(|e| e.to_string())
                }
                false => Ok(()),
            };
            written.map_err(|e| format!("checkpoints/{link} was not updated: {e}"))?;
            self.owed.links.remove(&link);
        }
        Ok(())
    }

    fn write_probes(&mut self) -> Result<(), String> {
        while let Some(probe) = self.owed.probes.front() {
            let saved = self.handle.rank();
            let saved = saved.and_then(|dir| probe.result.save(&probe.beside, &dir, &probe.name));
            saved.map_err(|e| format!("rank/{} was not written: {e}", probe.name))?;
            self.owed.probes.pop_front();
        }
        Ok(())
    }
}
