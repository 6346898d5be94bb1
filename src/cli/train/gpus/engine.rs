//! Steps of a program with NCCL to become a rank.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use candle_core::Device;

use super::Connected;
use super::over::{Refused, agree, part};
use super::place;
use crate::device::{self, Choice};
use crate::dist::launch::{Launch, Launcher};
use crate::dist::nccl::{Id, Nccl, address, is_there, make_id};
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

/// Opens this rank's GPU and connects to the other ranks over NCCL. `over` is MPI, if the ranks were started with it: it carries NCCL's
/// id to all ranks, and if all of them compute on CPUs, they exchange over it alone. Returns an exit code as the inner error if the
/// ranks over MPI could not begin; the reason has been printed.
///
/// # Errors
/// Without MPI: when the GPU cannot be opened, NCCL's library is missing, or the ranks do not meet.
pub(in crate::cli::train) fn connect(
    launch: &Launch,
    asked: Option<Choice>,
    over: Option<Arc<dyn Ranks>>,
) -> Result<Result<Connected, i32>> {
    let Some(over) = over else {
        let (choice, device, id) = own_part(launch, None)?;
        let nccl = Nccl::open(&device, launch.rank, launch.world, &id, MEETING, None)?;
        return Ok(Ok((Some(choice), Arc::new(nccl))));
    };
    let connected = connect_over(launch, asked, &over);
    Ok(connected.map_err(|why| part(&*over, why)))
}

fn connect_over(
    launch: &Launch,
    asked: Option<Choice>,
    over: &Arc<dyn Ranks>,
) -> Result<Connected> {
    if !are_meant(asked, &**over)? {
        return Ok((asked, Arc::clone(over)));
    }
    let (choice, device, id) = agree(&**over, own_part(launch, Some(&**over)))?;
    let mut bytes = match id {
        Id::Carried(bytes) => bytes.to_vec(),
        Id::Environment => Vec::new(),
    };
    over.announce(&mut bytes)?;
    let id = bytes
        .try_into()
        .ok()
        .context("rank 0 has sent no id of NCCL")?;
    let (rank, world, id) = (launch.rank, launch.world, Id::Carried(id));
    let nccl = Nccl::open(&device, rank, world, &id, MEETING, Some(Arc::clone(over)))?;
    Ok((Some(choice), Arc::new(nccl)))
}

/// Opens this rank's GPU and checks that NCCL's library can be used. If the ranks are connected `over` MPI, rank 0 makes NCCL's id;
/// otherwise the id comes from the environment.
fn own_part(launch: &Launch, over: Option<&dyn Ranks>) -> Result<(Choice, Device, Id)> {
    let rank = launch.rank;
    let opened = device::gpus()
        .map_err(|why| anyhow!("{why}; CPU ranks need mpirun or srun"))
        .and_then(|there| place::gpu_of(launch, there.len()))
        .and_then(|choice| Ok((choice, choice.open()?.device)));
    let (choice, device) = opened.with_context(|| format!("rank {rank} has no GPU"))?;
    is_there().with_context(|| format!("rank {rank}"))?;
    let id = match over {
        Some(over) if over.leads() => Id::Carried(make_id()?),
        _ => Id::Environment,
    };
    Ok((choice, device, id))
}

/// Returns whether all ranks compute on GPUs. `over` MPI they could also compute on CPUs; then all ranks must ask for the same.
///
/// # Errors
/// When a rank would compute on another kind of device than rank 0: names the first such rank.
fn are_meant(asked: Option<Choice>, over: &dyn Ranks) -> Result<bool> {
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
        let words = format!(
            "rank {rank} would compute on {}, rank 0 on {}: give all of them the same --device, cpu or cuda",
            name(!gpu),
            name(gpu)
        );
        // Every rank has the same sums, so all of them return this error.
        return Err(Refused(words).into());
    }
    Ok(gpu)
}
