//! Identifies the processes of a run, and finds out whether they are alive.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Longest name of a host that is kept.
const HOST: usize = 64;

/// The identity of a process, as the other processes of the run know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The host's name.
    pub host: String,
    /// Identifies the running system and its process ids: a process can be looked up by its id only where both are the same.
    place: String,
    /// The process's id.
    pub pid: u32,
    /// When it began, in ticks since the boot: a later process may have the same id.
    began: u64,
    /// A hash of the cores that it may run on.
    cores: String,
}

/// The observed state of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It runs elsewhere, or could not be inspected.
    Unseen,
    /// It is alive.
    Lives,
    /// A signal or a debugger has stopped it.
    Stopped,
    /// It has ended.
    Ended,
}

impl Peer {
    /// Describes this process.
    pub fn own() -> Self {
        let host = nix::unistd::gethostname().map(|host| host.to_string_lossy().into_owned());
        let mut host = host.unwrap_or_else(|_| "a host without a name".into());
        let end = (0..=HOST).rev().find(|at| host.is_char_boundary(*at));
        host.truncate(end.unwrap_or(0));
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let numbering = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let pid = std::process::id();
        Self {
            host,
            place: format!("{} {}", boot.trim(), numbering.display()),
            pid,
            began: stat(pid).map_or(0, |(_, began)| began),
            cores: cores(),
        }
    }

    /// Whether both processes run on the same host and share process ids.
    pub fn is_near(&self, other: &Self) -> bool {
        self.place == other.place && self.host == other.host
    }

    /// Whether the two run on the same cores.
    pub fn shares(&self, other: &Self) -> bool {
        self.is_near(other) && self.cores == other.cores
    }

    /// Looks for the process; `own` is the process that looks.
    pub fn look_from(&self, own: &Self) -> Life {
        // Without a boot id and a namespace of process ids, hosts cannot be distinguished.
        if !self.is_near(own) || self.place.split_whitespace().count() < 2 {
            return Life::Unseen;
        }
        match stat(self.pid) {
            Some((_, began)) if began != self.began => Life::Ended,
            Some((b'Z' | b'X' | b'x', _)) => Life::Ended,
            // Only a missing process has ended: the file may also be unreadable because the process has too many files open.
            None if Path::new(&format!("/proc/{}", self.pid)).try_exists().ok() == Some(false) => {
                Life::Ended
            }
            None => Life::Unseen,
            Some((b'T' | b't', _)) => Life::Stopped,
            Some(_) => Life::Lives,
        }
    }
}

/// The names of the processes' hosts, each once, in the order of the processes.
pub fn hosts<'a>(peers: impl IntoIterator<Item = &'a Peer>) -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    for peer in peers {
        if !hosts.contains(&peer.host) {
            hosts.push(peer.host.clone());
        }
    }
    hosts
}

/// Returns a hash of the list of cores in `/proc/self/status`, which may be long.
fn cores() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find(|line| line.starts_with("Cpus_allowed:"));
    let hash = blake3::hash(list.unwrap_or_default().as_bytes());
    hash.to_hex()[..16].to_string()
}

/// A process's state and the time of its beginning, from `/proc/PID/stat` (proc(5)): its name in parentheses may contain
/// anything; the state comes after the last one, and the time 19 fields later.
fn stat(pid: u32) -> Option<(u8, u64)> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = stat[after..]
        .split(u8::is_ascii_whitespace)
        .filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    let began = std::str::from_utf8(fields.nth(18)?).ok()?.parse().ok()?;
    Some((state, began))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;

    #[test]
    fn the_life_of_a_process_is_seen() {
        let own = Peer::own();
        assert_eq!(own.look_from(&own), Life::Lives);
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let (_, began) = stat(child.id()).unwrap();
        let peer = Peer {
            pid: child.id(),
            began,
            ..own.clone()
        };
        let becomes = |life| {
            let since = Instant::now();
            while peer.look_from(&own) != life {
                assert!(since.elapsed() < Duration::from_secs(20), "never {life:?}");
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        becomes(Life::Lives);
        let pid = Pid::from_raw(child.id().cast_signed());
        kill(pid, Signal::SIGSTOP).unwrap();
        becomes(Life::Stopped);
        // Not waited for yet, it is a zombie.
        kill(pid, Signal::SIGKILL).unwrap();
        becomes(Life::Ended);
        child.wait().unwrap();
        becomes(Life::Ended);
        // Another process has the same id.
        let other = Peer {
            began: own.began + 1,
            ..own.clone()
        };
        assert_eq!(other.look_from(&own), Life::Ended);
        let elsewhere = Peer {
            place: "another system".into(),
            ..own.clone()
        };
        assert_eq!(elsewhere.look_from(&own), Life::Unseen);
        assert!(!elsewhere.is_near(&own));
        let contained = Peer {
            host: "a container".into(),
            place: format!("{} pid:[7]", own.place.split(' ').next().unwrap()),
            ..own.clone()
        };
        assert_eq!(contained.look_from(&own), Life::Unseen);
        assert!(!contained.is_near(&own));
    }
}
