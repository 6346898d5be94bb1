//! Steps of a program with NCCL to become a rank.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use candle_core::Device;

use super::over::{Refused, agree, part};
use super::place;
use crate::device::{self, Choice};
use crate::dist::launch::{Launch, Launcher};
use crate::dist::nccl::{Id, Nccl, address, is_there, make_id};
use crate::dist::{DistError, Ranks};

/// Longest wait for all ranks to connect.
const MEETING: Duration = Duration::from_secs(120);

/// What a rank computes on, and by what ranks exchange.
type Connected = (Option<Choice>, Arc<dyn Ranks>);

/// Sets what NCCL reads from the environment, as far as the user has not. To be called before a thread is started.
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

/// Meets the other ranks, each of which has a GPU, over NCCL. Its id comes `over` another library, where there is one; with that
/// the ranks may also compute on CPUs. The inner error is the exit code of ranks that have parted, which has been explained.
///
/// # Errors
/// When the GPU cannot be had, NCCL's library is missing, or the ranks do not meet.
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

/// Opens this rank's GPU and looks for NCCL's library; on rank 0 makes NCCL's id, which is carried `over` another library, if there
/// is one.
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

/// Whether all ranks compute on GPUs: over MPI they could also compute on CPUs, and must mean the same.
///
/// # Errors
/// Names the first rank that means another device than rank 0.
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
        // Every rank has the same sums.
        return Err(Refused(words).into());
    }
    Ok(gpu)
}
