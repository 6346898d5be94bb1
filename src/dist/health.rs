//! The reports that ranks send each other about once a second, and the judgement from them which rank is lost or hangs.
//!
//! Rank 0 receives the reports of all other ranks, and these receive those of rank 0. Nothing here sends or waits: times and reports are passed in, and a judgement is
//! returned.

use std::time::{Duration, Instant};

use super::DistError;
use super::peer::{Life, Peer};

/// Interval between a rank's reports to another.
pub const EVERY: Duration = Duration::from_secs(1);

/// A rank that has not been heard for this long is lost, unless its process is seen to be stopped.
const SILENCE: Duration = Duration::from_secs(10);

/// If a rank has not judged for this long (it was stopped, or its machine was asleep), it has missed reports itself.
const AWAY: Duration = Duration::from_secs(3);

/// Bytes of a report on the wire: small enough for every library to send at once.
pub const BYTES: usize = 512;

/// A rank's report of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    /// Exchanges that it has begun.
    pub begun: u64,
    /// The reason, if the rank cannot continue; from rank 0 its verdict on the run.
    pub failed: Option<String>,
}

impl Beat {
    /// Writes the report for the wire. Long texts are cut.
    pub fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.begun.to_le_bytes());
        if let Some(text) = &self.failed {
            let room = BYTES - 10;
            let end = (0..=room.min(text.len())).rev();
            let end = end.into_iter().find(|at| text.is_char_boundary(*at));
            let end = end.unwrap_or(0);
            // At most `room`, which fits in 16 bits; the number plus one is written, since 0 stands for no text.
            bytes[8..10].copy_from_slice(&(end as u16 + 1).to_le_bytes());
            bytes[10..10 + end].copy_from_slice(&text.as_bytes()[..end]);
        }
        bytes
    }

    /// Reads a report from the wire.
    pub fn decode(bytes: &[u8; BYTES]) -> Self {
        let mut begun = [0; 8];
        begun.copy_from_slice(&bytes[..8]);
        let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let text = length.checked_sub(1).map(|length| {
            let end = (10 + length).min(BYTES);
            String::from_utf8_lossy(&bytes[10..end]).into_owned()
        });
        Self {
            begun: u64::from_le_bytes(begun),
            failed: text,
        }
    }
}

/// An exchange that a rank waits for.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// Its number, from 1.
    pub exchange: u64,
    /// The time at which the wait began.
    pub since: Instant,
}

/// The latest report of another rank.
#[derive(Debug)]
struct Heard {
    rank: usize,
    peer: Peer,
    beat: Beat,
    last: Instant,
}

/// The state of the ranks that one rank hears.
#[derive(Debug)]
pub struct Health {
    own_rank: usize,
    own: Peer,
    heard: Vec<Heard>,
    /// The time of this rank's last judgement.
    judged: Instant,
}

impl Health {
    /// Begins to watch the ranks that `own_rank` hears, out of all.
    pub fn new(own_rank: usize, peers: &[Peer], now: Instant) -> Self {
        let heard = peers.iter().enumerate().filter(|(rank, _)| match own_rank {
            0 => *rank != 0,
            _ => *rank == 0,
        });
        let heard = heard.map(|(rank, peer)| Heard {
            rank,
            peer: peer.clone(),
            beat: Beat::default(),
            last: now,
        });
        Self {
            own_rank,
            own: peers[own_rank].clone(),
            heard: heard.collect(),
            judged: now,
        }
    }

    /// The ranks that report to this one, and that it reports to.
    pub fn ranks(&self) -> impl Iterator<Item = usize> {
        self.heard.iter().map(|heard| heard.rank)
    }

    /// Takes in a report.
    pub fn hear(&mut self, rank: usize, beat: Beat, now: Instant) {
        if let Some(heard) = self.heard.iter_mut().find(|heard| heard.rank == rank) {
            heard.beat = beat;
            heard.last = now;
        }
    }

    /// Judges by what was heard, and by looking for processes of this host.
    ///
    /// # Errors
    /// Names the rank that is lost or hangs.
    pub fn judge(
        &mut self,
        now: Instant,
        waits: Option<Waits>,
        timeout: Duration,
    ) -> Result<(), DistError> {
        let own = self.own.clone();
        self.judge_by(now, waits, timeout, |peer| peer.look_from(&own))
    }

    fn judge_by(
        &mut self,
        now: Instant,
        waits: Option<Waits>,
        timeout: Duration,
        look: impl Fn(&Peer) -> Life,
    ) -> Result<(), DistError> {
        if now.saturating_duration_since(self.judged) >= AWAY {
            for heard in &mut self.heard {
                heard.last = now;
            }
        }
        self.judged = now;
        let by = self.own_rank;
        for heard in &self.heard {
            let Heard {
                rank, peer, beat, ..
            } = heard;
            let rank = *rank;
            let (pid, host) = (peer.pid, &peer.host);
            let lost = |seen: String| Err(DistError::Lost { rank, seen });
            if let Some(failed) = &beat.failed {
                return match by {
                    0 => lost(format!("it has reported to rank 0: {failed}")),
                    _ => Err(DistError::Verdict(failed.clone())),
                };
            }
            let life = look(peer);
            if life == Life::Ended {
                return lost(format!(
                    "rank {by} sees that its process (pid {pid} on {host}) has ended"
                ));
            }
            let silent = now.saturating_duration_since(heard.last);
            let seconds = silent.as_secs();
            match life {
                Life::Stopped if silent >= timeout => {
                    let seen = format!(
                        "rank {by} has not heard it for {seconds} s and sees that its process (pid {pid} on {host}) is stopped"
                    );
                    return Err(DistError::Hangs { rank, seen });
                }
                Life::Stopped => {}
                Life::Lives if silent >= SILENCE => {
                    return lost(format!(
                        "rank {by} has not heard it for {seconds} s, though its process (pid {pid} on {host}) lives"
                    ));
                }
                _ if silent >= SILENCE => {
                    return lost(format!(
                        "rank {by} has not heard it (pid {pid} on {host}) for {seconds} s"
                    ));
                }
                _ => {}
            }
        }
        match waits {
            Some(waits) if now.saturating_duration_since(waits.since) >= timeout => {
                self.blame(waits, timeout)
            }
            _ => Ok(()),
        }
    }

    /// Names the rank that an exchange waits for.
    fn blame(&self, waits: Waits, timeout: Duration) -> Result<(), DistError> {
        let (by, seconds) = (self.own_rank, timeout.as_secs());
        let Waits { exchange, .. } = waits;
        let late = self.heard.iter().find(|heard| heard.beat.begun < exchange);
        Err(match late {
            Some(Heard {
                rank, peer, beat, ..
            }) => DistError::Hangs {
                rank: *rank,
                seen: format!(
                    "rank {by} has waited {seconds} s (dist.timeout_s) for exchange {exchange}; its process (pid {} on {}) reports, but has \
                     begun only {} exchanges",
                    peer.pid, peer.host, beat.begun
                ),
            },
            None => DistError::Library(format!(
                "rank {by} has waited {seconds} s (dist.timeout_s) for exchange {exchange}, which every rank that it hears has begun: look \
                 at the links between the hosts"
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    fn health(own: usize, begin: Instant) -> Health {
        Health::new(own, &vec![Peer::own(); 3], begin)
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Judges every second until `end`; of ranks in `reports` a beat comes every second.
    fn judged(
        mut health: Health,
        begin: Instant,
        end: u64,
        reports: &[(usize, u64)],
        waits: Option<Waits>,
        life: Life,
    ) -> Result<(), (u64, String)> {
        for second in 1..=end {
            let now = begin + seconds(second);
            for (rank, begun) in reports {
                let beat = Beat {
                    begun: *begun,
                    failed: None,
                };
                health.hear(*rank, beat, now);
            }
            let verdict = health.judge_by(now, waits, TIMEOUT, |_| life);
            verdict.map_err(|error| (second, error.to_string()))?;
        }
        Ok(())
    }

    #[test]
    fn reports_come_back_from_the_wire() {
        let long = "ä".repeat(400);
        for failed in [None, Some(String::new()), Some("no memory".into())] {
            let beat = Beat { begun: 7, failed };
            assert_eq!(Beat::decode(&beat.encode()), beat);
        }
        let cut = Beat {
            begun: u64::MAX,
            failed: Some(long),
        };
        let read = Beat::decode(&cut.encode());
        assert_eq!(read.failed.unwrap(), "ä".repeat(251));
    }

    #[test]
    fn ranks_that_report_are_well() {
        let begin = Instant::now();
        let all = [(1, 5), (2, 5)];
        assert_eq!(
            judged(health(0, begin), begin, 300, &all, None, Life::Unseen),
            Ok(())
        );
        // A follower hears rank 0 alone.
        let health = health(2, begin);
        assert_eq!(health.ranks().collect::<Vec<_>>(), [0]);
        assert_eq!(
            judged(health, begin, 300, &[(0, 0)], None, Life::Lives),
            Ok(())
        );
    }

    #[test]
    fn the_rank_that_is_lost_is_named() {
        let begin = Instant::now();
        let one = [(1, 5)];
        let (at, said) = judged(health(0, begin), begin, 30, &one, None, Life::Unseen).unwrap_err();
        assert_eq!(at, 10);
        assert!(
            said.starts_with("rank 2 is lost: rank 0 has not heard it"),
            "{said}"
        );
        let (at, said) = judged(health(0, begin), begin, 30, &one, None, Life::Ended).unwrap_err();
        assert_eq!(at, 1);
        assert!(said.contains("rank 0 sees that its process (pid"), "{said}");
        let (at, said) = judged(health(1, begin), begin, 30, &[], None, Life::Lives).unwrap_err();
        assert_eq!(at, 10);
        assert!(
            said.starts_with("rank 0 is lost: rank 1 has not heard it for 10 s, though"),
            "{said}"
        );
    }

    #[test]
    fn a_stopped_process_and_one_that_does_not_come_hang() {
        let begin = Instant::now();
        let both = [(1, 5), (2, 4)];
        let stopped = judged(health(0, begin), begin, 90, &[(1, 5)], None, Life::Stopped);
        let (at, said) = stopped.unwrap_err();
        assert_eq!(at, 60);
        assert!(
            said.starts_with("rank 2 does not respond: ") && said.contains("is stopped"),
            "{said}"
        );
        let waits = Waits {
            exchange: 5,
            since: begin + seconds(3),
        };
        let late = judged(health(0, begin), begin, 90, &both, Some(waits), Life::Lives);
        let (at, said) = late.unwrap_err();
        assert_eq!(at, 63);
        assert!(
            said.starts_with("rank 2 does not respond: ") && said.contains("begun only 4"),
            "{said}"
        );
        let all = [(1, 5), (2, 5)];
        let link = judged(health(0, begin), begin, 90, &all, Some(waits), Life::Lives);
        assert!(link.unwrap_err().1.contains("links between the hosts"));
    }

    #[test]
    fn a_watcher_that_was_away_blames_no_other() {
        let begin = Instant::now();
        let mut health = health(0, begin);
        let later = begin + seconds(500);
        health
            .judge_by(later, None, TIMEOUT, |_| Life::Unseen)
            .unwrap();
        health
            .judge_by(later + seconds(1), None, TIMEOUT, |_| Life::Unseen)
            .unwrap();
    }

    #[test]
    fn reports_of_failures_are_passed_on() {
        let begin = Instant::now();
        let failed = || Beat {
            begun: 1,
            failed: Some("no memory".into()),
        };
        let mut leader = health(0, begin);
        leader.hear(1, failed(), begin);
        let said = leader
            .judge_by(begin, None, TIMEOUT, |_| Life::Lives)
            .unwrap_err();
        assert_eq!(
            said.to_string(),
            "rank 1 is lost: it has reported to rank 0: no memory"
        );
        let mut follower = health(1, begin);
        follower.hear(0, failed(), begin);
        let said = follower
            .judge_by(begin, None, TIMEOUT, |_| Life::Lives)
            .unwrap_err();
        assert!(matches!(said, DistError::Verdict(text) if text == "no memory"));
    }
}
