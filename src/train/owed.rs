//! Small files that could not be written yet: links to checkpoints and the files of probes. Training continues, and
//! they are retried every second until the disk accepts them.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::checkpoint::Checkpoints;
use crate::fault;
use crate::rank::{LayerStats, ProbeResult};
use crate::run::handle::RunHandle;

/// Files of probes that wait before the oldest is given up: each is a few KB.
const PROBES_WAITING: usize = 256;

/// The files that are still to be written.
#[derive(Default)]
pub(super) struct Owed {
    /// Links under `checkpoints/`, and the checkpoints they are to point at.
    links: BTreeMap<String, String>,
    /// Oldest first.
    probes: VecDeque<Probe>,
    /// Whether the operator knows that something waits.
    reported: bool,
    dropped: u64,
}

/// A probe's file under `rank/`, and what it is to hold.
struct Probe {
    name: String,
    result: ProbeResult,
    stats: LayerStats,
}

/// A message for the operator about an attempt.
pub(super) enum Report {
    Log(String),
    Warning(String),
}

impl Owed {
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty() && self.probes.is_empty()
    }

    /// Has a link pointed at a checkpoint.
    pub(super) fn add_link(&mut self, link: &str, name: &str) {
        self.links.insert(link.into(), name.into());
    }

    /// Has the file of a probe written.
    pub(super) fn add_probe(&mut self, name: String, result: ProbeResult, stats: LayerStats) {
        if self.probes.len() == PROBES_WAITING {
            self.probes.pop_front();
            self.dropped += 1;
        }
        self.probes.push_back(Probe {
            name,
            result,
            stats,
        });
    }

    /// Writes the owed files. Failures are reported once, and so is their end.
    pub(super) fn write(&mut self, checkpoints: &Checkpoints, run: &RunHandle) -> Option<Report> {
        let written = self.write_links(checkpoints);
        match written.and_then(|()| self.write_probes(run)) {
            Ok(()) if std::mem::take(&mut self.reported) => {
                Some(Report::Log(match std::mem::take(&mut self.dropped) {
                    0 => "links and probe files are written again; none is missing".to_string(),
                    n => format!(
                        "links and probe files are written again; {n} probe files were given up"
                    ),
                }))
            }
            Ok(()) => None,
            Err(_) if self.reported => None,
            Err(why) => {
                self.reported = true;
                Some(Report::Warning(format!("{why}; retrying every second")))
            }
        }
    }

    fn write_links(&mut self, checkpoints: &Checkpoints) -> Result<(), String> {
        let links: Vec<_> = self.links.clone().into_iter().collect();
        for (link, name) in links {
            // A checkpoint that has been deleted meanwhile needs no link.
            let there = checkpoints.has(&name);
            let written = match fault::fails_at(&format!("link {link}")) {
                true => Err(io::Error::from(io::ErrorKind::StorageFull).to_string()),
                false if there => {
                    let linked = checkpoints.link(&link, &name);
                    linked.map_err(|e| e.to_string())
                }
                false => Ok(()),
            };
            written.map_err(|e| format!("checkpoints/{link} was not updated: {e}"))?;
            self.links.remove(&link);
        }
        Ok(())
    }

    fn write_probes(&mut self, run: &RunHandle) -> Result<(), String> {
        while let Some(probe) = self.probes.front() {
            let saved = run.rank();
            let saved = saved.and_then(|dir| probe.result.save(&probe.stats, &dir, &probe.name));
            saved.map_err(|e| format!("rank/{} was not written: {e}", probe.name))?;
            self.probes.pop_front();
        }
        Ok(())
    }
}
