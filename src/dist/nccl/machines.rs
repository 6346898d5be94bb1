//! The processes behind the ranks, and the machines that NCCL's messages name.
//!
//! NCCL's kernels wait in memory that two GPUs share: when a process of the same machine dies, nothing reports it, and the
//! others wait without end. The machine's kernel knows, so every rank looks at the [processes](Peer) of its own. Of
//! other machines NCCL's connections break, and its message has a name or an address.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use serde::{Deserialize, Serialize};

use crate::dist::peer::Peer;

/// One rank's process and the addresses of its machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The process.
    pub peer: Peer,
    addresses: Vec<IpAddr>,
}

impl Process {
    /// This process.
    pub fn own() -> Self {
        let addresses = getifaddrs().into_iter().flatten().filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
        });
        Self {
            peer: Peer::own(),
            addresses: addresses.filter(|ip| !ip.is_loopback()).collect(),
        }
    }

    /// The process's number and host, in words.
    pub fn name(&self) -> String {
        format!("its process (pid {} on {})", self.peer.pid, self.peer.host)
    }

    /// Whether `text`, a message of NCCL, names this process's machine.
    fn is_in(&self, text: &str) -> bool {
        let own = short(&self.peer.host);
        let words = text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | ':')));
        let mut words = words.map(|word| word.trim_matches(['.', ':']));
        words.any(|word| match word.parse::<IpAddr>() {
            Ok(ip) => self.addresses.contains(&ip),
            Err(_) => !own.is_empty() && short(word) == own,
        })
    }
}

/// A host's name without its domain.
fn short(host: &str) -> &str {
    host.split('.').next().unwrap_or_default()
}

/// The ranks on other machines than rank `of`'s that a message of NCCL may mean, by the name or the address of a machine.
pub fn named_in(text: &str, processes: &[Process], of: usize) -> Vec<usize> {
    let Some(own) = processes.get(of) else {
        return Vec::new();
    };
    let others = processes.iter().enumerate();
    let others = others.filter(|(_, p)| p.peer.host != own.peer.host && p.is_in(text));
    others.map(|(rank, _)| rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_machines() {
        let at = |host: &str, address: &str| {
            let mut peer = Peer::own();
            peer.host = host.into();
            Process {
                peer,
                addresses: vec![address.parse().unwrap()],
            }
        };
        let all = [
            at("n0", "10.0.0.1"),
            at("n1", "10.0.0.2"),
            at("n1", "10.0.0.2"),
            at("n11.cluster", "10.0.0.21"),
            at("n2", "fe80::2"),
        ];
        let text = "Call to recv from 10.0.0.2<40000> failed : Connection reset by peer";
        assert_eq!(named_in(text, &all, 0), [1, 2]);
        assert!(named_in(text, &all, 1).is_empty());
        let text = "Connection closed by remote peer n11.cluster.example<39999>";
        assert_eq!(named_in(text, &all, 0), [3]);
        let text = "Call to connect to fe80::2<39999> failed : No route to host";
        assert_eq!(named_in(text, &all, 0), [4]);
        assert!(named_in("unhandled system error", &all, 0).is_empty());
    }

    #[test]
    fn a_process_is_known_from_what_it_sends() {
        let own = Process::own();
        let sent = serde_json::to_vec(&own).unwrap();
        assert_eq!(serde_json::from_slice::<Process>(&sent).unwrap(), own);
        assert!(own.addresses.iter().all(|ip| !ip.is_loopback()));
    }
}
