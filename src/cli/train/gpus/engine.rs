//! Steps of a program with NCCL to become a rank.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::place;
use crate::device::{self, Choice};
use crate::dist::launch::{Launch, Launcher};
use crate::dist::nccl::{Id, Nccl, address, make_id};
use crate::dist::{DistError, Ranks};

/// Longest wait for all ranks to connect.
const MEETING: Duration = Duration::from_secs(120);

/// Sets the environment variables that NCCL reads, except those that the user has set. Must be called before a thread is started.
///
/// # Errors
/// When torchrun's variables do not name the address where ranks meet.
pub(in crate::cli::train) fn set_environment(launch: &Launch) -> Result<(), DistError> {
    let get = |name: &str| std::env::var(name).ok();
    let set = match launch.launcher {
        Launcher::Torchrun => address::variables(launch.master.as_ref(), get)?,
        _ => address::algorithms(get),
    };
    for (name, value) in set {
        // SAFETY: no other thread runs yet that could read the environment meanwhile.
        unsafe { std::env::set_var(name, value) };
    }
    Ok(())
}

/// Returns whether all ranks compute on GPUs. `over` MPI they could also compute on CPUs; then all ranks must ask for the same.
///
/// # Errors
/// When a rank asks for another device than rank 0: names the first such rank.
pub(in crate::cli::train) fn are_meant(
    asked: Option<Choice>,
    over: Option<&dyn Ranks>,
) -> Result<bool> {
    let Some(over) = over else {
        return Ok(true);
    };
    let own = match asked {
        Some(Choice::Cpu) => false,
        Some(Choice::Cuda(_)) => true,
        Some(Choice::Auto) | None => device::gpus().is_ok(),
    };
    let mut all = vec![0.0; over.world()];
    all[over.rank()] = f64::from(u8::from(own));
    over.sum(&mut all)?;
    let gpu = all[0] > 0.5;
    if let Some(rank) = all.iter().position(|n| (*n > 0.5) != gpu) {
        let name = |gpu| if gpu { "a GPU" } else { "the CPU" };
        bail!(
            "rank {rank} would compute on {}, rank 0 on {}: give all of them the same --device, cpu or cuda",
            name(!gpu),
            name(gpu)
        );
    }
    Ok(gpu)
}

/// Opens this rank's GPU and connects to the other ranks over NCCL. NCCL's id is exchanged `over` another library if there is one,
/// otherwise over TCP.
///
/// # Errors
/// When the GPU cannot be opened, NCCL's library is missing, or the ranks do not meet.
pub(in crate::cli::train) fn connect(
    launch: &Launch,
    over: Option<Arc<dyn Ranks>>,
) -> Result<(Choice, Arc<dyn Ranks>)> {
    let (rank, world) = (launch.rank, launch.world);
    let opened = device::gpus()
        .map_err(|why| anyhow!("{why}; CPU ranks need mpirun or srun"))
        .and_then(|there| place::gpu_of(launch, there.len()))
        .and_then(|choice| Ok((choice, choice.open()?.device)));
    let (choice, device) = opened.with_context(|| format!("rank {rank} has no GPU"))?;
    let id = match &over {
        None => Id::Environment,
        Some(over) => {
            let mut id = match rank {
                0 => make_id()?.to_vec(),
                _ => Vec::new(),
            };
            over.announce(&mut id)?;
            let id = id.try_into();
            Id::Carried(id.ok().context("rank 0 has sent no id of NCCL")?)
        }
    };
    let nccl = Nccl::open(&device, rank, world, &id, MEETING, over)?;
    Ok((choice, Arc::new(nccl)))
}
