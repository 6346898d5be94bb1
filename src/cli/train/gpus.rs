//! GPU ranks without MPI: those that `heirloom train --gpus N` starts, and those of `torchrun`.

mod children;
#[cfg(feature = "cuda")]
mod engine;
#[cfg(any(feature = "cuda", test))]
mod over;
#[cfg(any(feature = "cuda", test))]
mod place;
#[cfg(not(feature = "cuda"))]
mod without;

use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nix::unistd::getppid;
use signal_hook::iterator::Signals;

use super::args::Args;
use crate::cli::exit;
use crate::device::{self, Choice};
use crate::dist::Ranks;
use crate::dist::launch::Launch;
use crate::dist::nccl::address::{self, COMM_ID};
use crate::signals::WATCHED;

/// The device that a rank was asked to use or has chosen, and the engine over which ranks exchange data.
type Connected = (Option<Choice>, Arc<dyn Ranks>);

/// Environment variable of the ranks of `--gpus`: the id of the process that has started them.
const PARENT: &str = "HEIRLOOM_GPUS_PARENT";

/// Variables of other launchers, which are removed from the environment of a rank of `--gpus`. This process may itself be
/// the single task of such a launcher's job.
const OTHERS: [&str; 8] = [
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_RANK",
    "PMI_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "SLURM_STEP_ID",
    "SLURM_PROCID",
];

/// Advice for `--gpus` on a machine without a GPU.
const CPU_RANKS: &str = "CPU ranks need mpirun or srun";

impl Args {
    /// Starts the ranks that `--gpus` asks for and returns the run's exit code; `None` where this process is to train.
    ///
    /// # Errors
    /// When there are not as many GPUs, or a rank cannot be started.
    pub(super) fn start_ranks(&self) -> Result<Option<i32>> {
        let Some(n) = self.gpus else {
            return Ok(None);
        };
        if is_rank() || self.dry_run {
            return Ok(None);
        }
        let refuse = |why: String| bail!(exit::usage(&format!("--gpus {n}: {why}")));
        if n == 0 {
            return refuse("at least one GPU".into());
        }
        if self.detach {
            return refuse(
                "its ranks do not run in the background with -d: leave -d out (setsid or a batch system takes the command away from the \
                 terminal), and follow the run with heirloom attach"
                    .into(),
            );
        }
        let launch = Launch::of_process().map_err(|why| exit::usage(&why.to_string()))?;
        if let Some(launch) = launch.filter(|launch| launch.world > 1) {
            return refuse(format!(
                "it starts the ranks itself, and {} has started {} already: leave one of the two out",
                launch.launcher, launch.world
            ));
        }
        match self.device {
            Some(Choice::Cpu) => return refuse(format!("on --device cpu; {CPU_RANKS}")),
            Some(Choice::Cuda(first @ 1..)) => {
                return refuse(format!(
                    "its ranks have the GPUs from cuda:0 on, one each, not --device cuda:{first}; CUDA_VISIBLE_DEVICES chooses others"
                ));
            }
            _ => {}
        }
        if cfg!(not(feature = "cuda")) {
            return refuse(format!(
                "this program was built without the feature `cuda` (docs/gpu.md: how to build it); {CPU_RANKS}"
            ));
        }
        match device::gpus() {
            Ok(there) if there.len() >= n => {}
            Ok(there) => {
                return refuse(format!(
                    "this machine has {} (CUDA_VISIBLE_DEVICES may hide some)",
                    device::count(there.len())
                ));
            }
            Err(why) => return refuse(format!("{why}; {CPU_RANKS}")),
        }
        run_ranks(n).map(Some)
    }
}

/// Whether `--gpus` has started this process.
pub(super) fn is_rank() -> bool {
    let parent = std::env::var(PARENT).ok();
    parent.is_some_and(|id| id == getppid().to_string())
}

/// Runs this command line again, once per GPU, and waits for all processes.
fn run_ranks(n: usize) -> Result<i32> {
    let place = match std::env::var(COMM_ID) {
        Ok(place) if !place.trim().is_empty() => place,
        _ => address::free().context("no port for NCCL on 127.0.0.1")?,
    };
    let signals = Signals::new(WATCHED).context("cannot watch signals")?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let ranks = (0..n).map(|rank| {
        let mut command = Command::new(&program);
        command.args(std::env::args_os().skip(1));
        prepare(&mut command, rank, n, &place);
        command
    });
    children::run(ranks.collect(), signals)
}

/// Sets a command's environment for rank `rank` of `n` on this machine.
fn prepare(command: &mut Command, rank: usize, n: usize, place: &str) {
    for name in OTHERS {
        command.env_remove(name);
    }
    // The names that torchrun uses.
    let (rank, n) = (rank.to_string(), n.to_string());
    let all: [(&str, &str); 5] = [
        ("RANK", &rank),
        ("LOCAL_RANK", &rank),
        ("WORLD_SIZE", &n),
        ("LOCAL_WORLD_SIZE", &n),
        (COMM_ID, place),
    ];
    command
        .envs(all)
        .env(PARENT, std::process::id().to_string())
        // Ranks read no commands from stdin: these come through the run's socket.
        .stdin(Stdio::null());
}

#[cfg(feature = "cuda")]
pub(super) use engine::{connect, set_environment};
#[cfg(not(feature = "cuda"))]
pub(super) use without::connect;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::launch::Launcher;

    #[test]
    fn a_prepared_command_is_a_rank_to_every_reader() {
        let mut command = Command::new("env");
        command.env("OMPI_COMM_WORLD_SIZE", "1").env("RANK", "x");
        prepare(&mut command, 3, 4, "127.0.0.1:5");
        let printed = command.output().unwrap();
        let printed = String::from_utf8(printed.stdout).unwrap();
        let get = |name: &str| {
            let mut pairs = printed.lines().filter_map(|line| line.split_once('='));
            pairs
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_string())
        };
        let read = Launch::read(get).unwrap().unwrap();
        assert_eq!(
            (read.launcher, read.rank, read.world),
            (Launcher::Torchrun, 3, 4)
        );
        assert_eq!((read.local_rank, read.local_world), (Some(3), Some(4)));
        assert_eq!(get(COMM_ID).as_deref(), Some("127.0.0.1:5"));
        assert_eq!(get(PARENT), Some(std::process::id().to_string()));
    }
}
