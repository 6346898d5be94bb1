//! The address at which the ranks of NCCL meet, and the other variables that NCCL reads from the environment.
//!
//! Without MPI nothing carries NCCL's id from rank 0 to the others. With `NCCL_COMM_ID=HOST:PORT` every rank makes the same id on its own:
//! from NCCL 2.22 on, `ncclGetUniqueId` then only reads the variable, on every rank, and binds nothing; `ncclCommInitRankConfig` of rank 0
//! alone listens there (`bootstrapGetUniqueId` in NCCL's src/bootstrap.cc and `ncclCommInitRankDev` in src/init.cc; seen with NCCL 2.32.3,
//! where a process that has called it has no listening socket). Releases up to 2.21 put a random number into each id (`getRandomData`), so
//! that ids made by two ranks never fit.

use std::net::{Ipv4Addr, TcpListener};

use crate::dist::DistError;
use crate::dist::launch::Master;

/// The variable that holds the address.
pub const COMM_ID: &str = "NCCL_COMM_ID";

/// The first NCCL whose ranks can make their id from [`COMM_ID`], in NVIDIA's way of counting (2.22.3).
pub const IDS_AGREE: i32 = 22_203;

/// Reductions inside NVSwitch differ from call to call, according to NCCL's developers (<https://github.com/NVIDIA/nccl/issues/1497>):
/// without them, a repeated run has the same bits.
const SWITCH_SUMS: &str = "NCCL_NVLS_ENABLE";

/// The variables that determine which algorithms NCCL uses: if one of them is set, the user has chosen.
const CHOSEN: [&str; 2] = [SWITCH_SUMS, "NCCL_ALGO"];

/// Returns the address at which NCCL's rank 0 listens: on the port after that of torchrun, which belongs to the agent's store.
///
/// # Errors
/// When MASTER_PORT is the last port.
pub fn next_to(master: &Master) -> Result<String, DistError> {
    let Some(port) = master.port.checked_add(1) else {
        return Err(DistError::Library(format!(
            "NCCL's rank 0 listens on the port after MASTER_PORT, and {} is the last port: use a smaller MASTER_PORT, or set \
             {COMM_ID}=HOST:PORT on every rank",
            master.port
        )));
    };
    let host = master.address.trim();
    // NCCL writes addresses of IPv6 in brackets.
    Ok(match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    })
}

/// Returns an address of this machine that is free now.
///
/// # Errors
/// When no port is free.
pub fn free() -> std::io::Result<String> {
    // Freed at once: NCCL listens there itself. Another program that takes it first makes rank 0 fail at the start.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.to_string())
}

/// Returns the variables to set before NCCL is first called in a process that torchrun or `--gpus` has started, except those that `get`
/// has.
///
/// # Errors
/// When it is not known where the ranks meet.
pub fn variables(
    master: Option<&Master>,
    get: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(&'static str, String)>, DistError> {
    let mut set = algorithms(&get);
    if get(COMM_ID).is_none_or(|place| place.trim().is_empty()) {
        let Some(master) = master else {
            return Err(DistError::Library(format!(
                "WORLD_SIZE and RANK are set, but MASTER_ADDR and MASTER_PORT are not: start the ranks with torchrun, or set \
                 {COMM_ID}=HOST:PORT on every rank, a free port of rank 0's host"
            )));
        };
        set.push((COMM_ID, next_to(master)?));
    }
    Ok(set)
}

/// Returns the variables that limit NCCL to algorithms with the same bits in every run.
pub fn algorithms(get: impl Fn(&str) -> Option<String>) -> Vec<(&'static str, String)> {
    match CHOSEN.iter().any(|name| get(name).is_some()) {
        true => Vec::new(),
        false => vec![(SWITCH_SUMS, "0".into())],
    }
}

/// Returns a version in its usual notation.
pub fn version(number: i32) -> String {
    format!(
        "{}.{}.{}",
        number / 10_000,
        number / 100 % 100,
        number % 100
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(address: &str, port: u16) -> Master {
        let address = address.into();
        Master { address, port }
    }

    #[test]
    fn ranks_meet_next_to_the_agents_port() {
        let at = |address, port| next_to(&master(address, port)).unwrap();
        assert_eq!(at("n0.cluster", 29500), "n0.cluster:29501");
        assert_eq!(at("10.0.0.1 ", 1), "10.0.0.1:2");
        assert_eq!(at("fe80::1", 29500), "[fe80::1]:29501");
        assert_eq!(at("[fe80::1]", 29500), "[fe80::1]:29501");
        let last = next_to(&master("n0", u16::MAX)).unwrap_err().to_string();
        assert!(
            last.contains("65535") && last.contains("NCCL_COMM_ID"),
            "{last}"
        );
    }

    #[test]
    fn what_the_user_has_set_stays() {
        let n0 = master("n0", 29500);
        let all = |name: &str| Some(format!("user's {name}"));
        assert!(variables(Some(&n0), all).unwrap().is_empty());
        assert!(variables(None, all).unwrap().is_empty());
        let only = |which: &'static str| move |name: &str| (name == which).then(|| "x".to_string());
        let set = variables(Some(&n0), only("NCCL_ALGO")).unwrap();
        assert_eq!(set, [("NCCL_COMM_ID", "n0:29501".to_string())]);
        let set = variables(Some(&n0), only("NCCL_COMM_ID")).unwrap();
        assert_eq!(set, [("NCCL_NVLS_ENABLE", "0".to_string())]);
        let set = variables(Some(&n0), |_| None).unwrap();
        assert_eq!(set.len(), 2);
        let nowhere = variables(None, |_| None).unwrap_err().to_string();
        assert!(nowhere.contains("MASTER_ADDR"), "{nowhere}");
    }

    #[test]
    fn a_free_port_can_be_bound() {
        let place = free().unwrap();
        assert!(place.starts_with("127.0.0.1:"), "{place}");
        TcpListener::bind(&place).unwrap();
    }

    #[test]
    fn versions_are_written_as_people_do() {
        assert_eq!(version(23203), "2.32.3");
        assert_eq!(version(IDS_AGREE), "2.22.3");
    }
}
