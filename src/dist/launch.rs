//! Finds out from the environment which launcher has started this process as one of several.
//!
//! A process may carry the variables of several launchers: `mpirun` within a SLURM job, `torchrun` within a step of it. The one that is
//! closest to the process counts: MPI's first, then torchrun's, then SLURM's.
//!
//! In SLURM only a job step has several tasks. A batch script also sees the job's `SLURM_NTASKS` and `SLURM_PROCID`, but is one process:
//! only steps have `SLURM_STEP_ID` and `SLURM_STEP_NUM_TASKS` (srun(1), output environment variables).

use std::fmt;

use thiserror::Error;

/// From this number on, the steps of a job are its batch script, its interactive shell and the like.
const SLURM_SPECIAL_STEPS: u64 = 0xffff_fff0;

/// A program that starts several processes of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launcher {
    /// `mpirun` of Open MPI.
    OpenMpi,
    /// `mpiexec` of MPICH and its relatives, and `srun --mpi=pmi2`.
    Pmi,
    /// `torchrun`.
    Torchrun,
    /// `srun`, with PMIx or without any help for MPI.
    Slurm,
}

impl Launcher {
    /// The variable that has the number of processes.
    pub fn size_variable(self) -> &'static str {
        match self {
            Self::OpenMpi => "OMPI_COMM_WORLD_SIZE",
            Self::Pmi => "PMI_SIZE",
            Self::Torchrun => "WORLD_SIZE",
            Self::Slurm => "SLURM_NTASKS",
        }
    }
}

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenMpi => "mpirun",
            Self::Pmi => "mpiexec or srun",
            Self::Torchrun => "torchrun",
            Self::Slurm => "srun",
        })
    }
}

/// The address of the agent of `torchrun`. Its port belongs to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// Host name or address of rank 0.
    pub address: String,
    /// The agent's port.
    pub port: u16,
}

/// A process's place among those that were started with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The launcher that has started them.
    pub launcher: Launcher,
    /// This process's number, from 0.
    pub rank: usize,
    /// Number of processes.
    pub world: usize,
    /// This process's number among those of its host, if the launcher sets it.
    pub local_rank: Option<usize>,
    /// Number of processes on its host, if the launcher sets it.
    pub local_world: Option<usize>,
    /// Set by torchrun only.
    pub master: Option<Master>,
}

/// Variables of a launcher that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadLaunch {
    /// A value that is not a number.
    #[error("{variable} of {launcher}: expected a whole number, got {value:?}")]
    Number {
        /// The launcher that sets the variable.
        launcher: Launcher,
        /// Its name.
        variable: &'static str,
        /// The value that it was set to.
        value: String,
    },
    /// A variable that the launcher always sets.
    #[error(
        "{set} is set, as by {launcher}, but {missing} is not: start heirloom with {launcher}, or unset {set}"
    )]
    Missing {
        /// The launcher that sets the variables.
        launcher: Launcher,
        /// One that is set.
        set: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// A rank that is not below the number of ranks.
    #[error("{variable} of {launcher} is {rank}, but {} is {world}", .launcher.size_variable())]
    Rank {
        /// The launcher that sets the variables.
        launcher: Launcher,
        /// The variable of the rank.
        variable: &'static str,
        /// The rank.
        rank: usize,
        /// The number of ranks.
        world: usize,
    },
}

/// Why processes that were started together cannot train together. Each message includes advice.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Ranks of MPI, and a program built without MPI.
    #[error(
        "this is rank {rank} of {world} that {launcher} has started ({} = {world}), but this heirloom is built without MPI and would train \
         {world} times: build it with --features mpi (Open MPI or MPICH with their headers, and libclang), or start one process",
        .launcher.size_variable()
    )]
    NoMpi {
        /// The launcher that has started them.
        launcher: Launcher,
        /// This process's number.
        rank: usize,
        /// Number of processes.
        world: usize,
    },
    /// Ranks on GPUs, and a program built without CUDA.
    #[error(
        "this is rank {rank} of {world} that torchrun has started (WORLD_SIZE = {world}), but this heirloom is built without CUDA: build it \
         with --features cuda; CPU ranks need mpirun or srun and --features mpi"
    )]
    NoCuda {
        /// This process's number.
        rank: usize,
        /// Number of processes.
        world: usize,
    },
    /// Ranks of torchrun that compute on the CPU.
    #[error(
        "this is rank {rank} of {world} that torchrun has started (WORLD_SIZE = {world}), but it computes on the CPU: CPU ranks need \
         mpirun or srun"
    )]
    CpuRanks {
        /// This process's number.
        rank: usize,
        /// Number of processes.
        world: usize,
    },
}

/// Features that a program was built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Ranks over MPI.
    pub mpi: bool,
    /// Computation on NVIDIA GPUs.
    pub cuda: bool,
}

impl Features {
    /// Returns the features of this program.
    pub fn built() -> Self {
        Self {
            mpi: cfg!(feature = "mpi"),
            cuda: cfg!(feature = "cuda"),
        }
    }
}

/// The library that carries the exchanges of a launched process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// No library: there is one process.
    Solo,
    /// MPI; ranks on GPUs use it to agree on NCCL's id.
    Mpi,
    /// NCCL with its own bootstrap.
    Nccl,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Solo => "one process",
            Self::Mpi => "mpi",
            Self::Nccl => "nccl",
        })
    }
}

impl Launch {
    /// Reads the variables of launchers that `get` returns; `None` for a process that was started alone.
    ///
    /// # Errors
    /// When a variable cannot be used; the message names it.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, BadLaunch> {
        let env = Variables(&get);
        if let Some(launch) = env.mpi()? {
            return Ok(Some(launch));
        }
        if let Some(launch) = env.torchrun()? {
            return Ok(Some(launch));
        }
        env.slurm()
    }

    /// Reads the environment of this process.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn of_process() -> Result<Option<Self>, BadLaunch> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Returns the library that carries the exchanges in a program of these `features`, on a GPU or not.
    ///
    /// # Errors
    /// When none can.
    pub fn engine(&self, features: Features, on_gpu: bool) -> Result<Engine, Refusal> {
        let (rank, world) = (self.rank, self.world);
        if world == 1 {
            return Ok(Engine::Solo);
        }
        match self.launcher {
            Launcher::Torchrun if !features.cuda => Err(Refusal::NoCuda { rank, world }),
            Launcher::Torchrun if !on_gpu => Err(Refusal::CpuRanks { rank, world }),
            Launcher::Torchrun => Ok(Engine::Nccl),
            _ if features.mpi => Ok(Engine::Mpi),
            launcher => Err(Refusal::NoMpi {
                launcher,
                rank,
                world,
            }),
        }
    }
}

/// Environment variables by their names.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn number(
        &self,
        launcher: Launcher,
        variable: &'static str,
    ) -> Result<Option<usize>, BadLaunch> {
        let Some(value) = (self.0)(variable) else {
            return Ok(None);
        };
        match value.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(BadLaunch::Number {
                launcher,
                variable,
                value,
            }),
        }
    }

    fn needed(
        &self,
        launcher: Launcher,
        set: &'static str,
        variable: &'static str,
    ) -> Result<usize, BadLaunch> {
        self.number(launcher, variable)?.ok_or(BadLaunch::Missing {
            launcher,
            set,
            missing: variable,
        })
    }

    /// Reads the variables of `mpirun` and `mpiexec`.
    fn mpi(&self) -> Result<Option<Launch>, BadLaunch> {
        const OPEN: [&str; 4] = [
            "OMPI_COMM_WORLD_RANK",
            "OMPI_COMM_WORLD_SIZE",
            "OMPI_COMM_WORLD_LOCAL_RANK",
            "OMPI_COMM_WORLD_LOCAL_SIZE",
        ];
        const PMI: [&str; 4] = ["PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"];
        for (launcher, [rank, size, local, locals]) in
            [(Launcher::OpenMpi, OPEN), (Launcher::Pmi, PMI)]
        {
            if !self.is_set(rank) && !self.is_set(size) {
                continue;
            }
            let world = self.needed(launcher, rank, size)?;
            let ranks = (rank, self.needed(launcher, size, rank)?);
            let local = (
                self.number(launcher, local)?,
                self.number(launcher, locals)?,
            );
            return place(launcher, ranks, world, local, None).map(Some);
        }
        Ok(None)
    }

    /// Reads the variables of torchrun. `RANK` and `WORLD_SIZE` are common names, so that one of them alone may mean something else.
    fn torchrun(&self) -> Result<Option<Launch>, BadLaunch> {
        const LAUNCHER: Launcher = Launcher::Torchrun;
        if !self.is_set("WORLD_SIZE") {
            return Ok(None);
        }
        let world = self.needed(LAUNCHER, "RANK", "WORLD_SIZE")?;
        if world <= 1 && !self.is_set("RANK") {
            return Ok(None);
        }
        let rank = self.needed(LAUNCHER, "WORLD_SIZE", "RANK")?;
        let port = self.number(LAUNCHER, "MASTER_PORT")?;
        let port = port.map(|port| {
            u16::try_from(port).map_err(|_| BadLaunch::Number {
                launcher: LAUNCHER,
                variable: "MASTER_PORT",
                value: port.to_string(),
            })
        });
        let master = match ((self.0)("MASTER_ADDR"), port.transpose()?) {
            (Some(address), Some(port)) => Some(Master { address, port }),
            _ => None,
        };
        let local = (
            self.number(LAUNCHER, "LOCAL_RANK")?,
            self.number(LAUNCHER, "LOCAL_WORLD_SIZE")?,
        );
        place(LAUNCHER, ("RANK", rank), world, local, master).map(Some)
    }

    /// Reads the variables of a job step.
    fn slurm(&self) -> Result<Option<Launch>, BadLaunch> {
        const LAUNCHER: Launcher = Launcher::Slurm;
        let step = (self.0)("SLURM_STEP_ID").and_then(|step| step.trim().parse::<u64>().ok());
        if step.is_none_or(|step| step >= SLURM_SPECIAL_STEPS) {
            return Ok(None);
        }
        let world = match self.number(LAUNCHER, "SLURM_STEP_NUM_TASKS")? {
            Some(world) => world,
            None => self.needed(LAUNCHER, "SLURM_STEP_ID", "SLURM_NTASKS")?,
        };
        let rank = self.needed(LAUNCHER, "SLURM_STEP_ID", "SLURM_PROCID")?;
        let local = (self.number(LAUNCHER, "SLURM_LOCALID")?, None);
        place(LAUNCHER, ("SLURM_PROCID", rank), world, local, None).map(Some)
    }

    fn is_set(&self, variable: &str) -> bool {
        (self.0)(variable).is_some()
    }
}

/// Checks that a rank is below the number of ranks, and returns the process's place among them.
fn place(
    launcher: Launcher,
    (variable, rank): (&'static str, usize),
    world: usize,
    (local_rank, local_world): (Option<usize>, Option<usize>),
    master: Option<Master>,
) -> Result<Launch, BadLaunch> {
    if rank >= world {
        return Err(BadLaunch::Rank {
            launcher,
            variable,
            rank,
            world,
        });
    }
    Ok(Launch {
        launcher,
        rank,
        world,
        local_rank,
        local_world,
        master,
    })
}

#[cfg(test)]
mod tests;
