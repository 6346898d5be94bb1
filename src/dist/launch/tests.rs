//! Variables of launchers, as they set them.

use super::*;

/// Reads variables written `NAME=value NAME=value`.
fn read(variables: &str) -> Result<Option<Launch>, BadLaunch> {
    let get = |name: &str| {
        let mut pairs = variables
            .split_whitespace()
            .filter_map(|v| v.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, v)| v.into())
    };
    Launch::read(get)
}

fn launched(variables: &str) -> (Launcher, usize, usize, Option<usize>) {
    let launch = read(variables).unwrap().unwrap();
    (
        launch.launcher,
        launch.rank,
        launch.world,
        launch.local_rank,
    )
}

const OPEN_MPI: &str =
    "OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=1 PMIX_RANK=3";
const MPICH: &str = "PMI_RANK=1 PMI_SIZE=2 MPI_LOCALRANKID=1 MPI_LOCALNRANKS=2";
const TORCHRUN: &str =
    "RANK=5 WORLD_SIZE=16 LOCAL_RANK=5 LOCAL_WORLD_SIZE=8 MASTER_ADDR=n0 MASTER_PORT=29500";
const SRUN: &str =
    "SLURM_STEP_ID=0 SLURM_PROCID=2 SLURM_STEP_NUM_TASKS=8 SLURM_NTASKS=8 SLURM_LOCALID=0";

#[test]
fn each_launcher_is_recognised() {
    assert_eq!(read("HOME=/root RANK=3").unwrap(), None);
    assert_eq!(launched(OPEN_MPI), (Launcher::OpenMpi, 3, 4, Some(1)));
    assert_eq!(launched(MPICH), (Launcher::Pmi, 1, 2, Some(1)));
    assert_eq!(read(MPICH).unwrap().unwrap().local_world, Some(2));
    assert_eq!(launched(TORCHRUN), (Launcher::Torchrun, 5, 16, Some(5)));
    let master = read(TORCHRUN).unwrap().unwrap().master.unwrap();
    assert_eq!((master.address.as_str(), master.port), ("n0", 29500));
    assert_eq!(launched(SRUN), (Launcher::Slurm, 2, 8, Some(0)));
}

#[test]
fn of_several_launchers_the_closest_one_counts() {
    let all = format!("{SRUN} {TORCHRUN} {MPICH} {OPEN_MPI}");
    assert_eq!(launched(&all).0, Launcher::OpenMpi);
    assert_eq!(
        launched(&format!("{SRUN} {TORCHRUN} {MPICH}")).0,
        Launcher::Pmi
    );
    assert_eq!(
        launched(&format!("{SRUN} {TORCHRUN}")).0,
        Launcher::Torchrun
    );
}

#[test]
fn a_batch_script_is_one_process() {
    // The variables that sbatch --ntasks 4 gives its script, and those of an interactive step.
    let batch = "SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_NPROCS=4 SLURM_PROCID=0 SLURM_LOCALID=0";
    assert_eq!(read(batch).unwrap(), None);
    for special in ["batch", "4294967291", "4294967290"] {
        let step = format!("{batch} SLURM_STEP_ID={special}");
        assert_eq!(read(&step).unwrap(), None);
    }
    // A step of one task in a job of four.
    let one = format!("{batch} SLURM_STEP_ID=1 SLURM_STEP_NUM_TASKS=1");
    assert_eq!(launched(&one), (Launcher::Slurm, 0, 1, Some(0)));
    // Older releases do not set the step's number of tasks.
    let old = format!("{batch} SLURM_STEP_ID=1");
    assert_eq!(launched(&old), (Launcher::Slurm, 0, 4, Some(0)));
}

#[test]
fn bad_values_are_named() {
    let refused = |variables: &str| read(variables).unwrap_err().to_string();
    for (variables, named) in [
        (
            "OMPI_COMM_WORLD_RANK=x OMPI_COMM_WORLD_SIZE=2",
            r#"OMPI_COMM_WORLD_RANK of mpirun: expected a whole number, got "x""#,
        ),
        (
            "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=-2",
            r#"OMPI_COMM_WORLD_SIZE of mpirun: expected a whole number, got "-2""#,
        ),
        ("PMI_RANK=1", "PMI_SIZE is not"),
        ("PMI_SIZE=2", "PMI_RANK is not"),
        (
            "PMI_RANK=2 PMI_SIZE=2",
            "PMI_RANK of mpiexec or srun is 2, but PMI_SIZE is 2",
        ),
        ("WORLD_SIZE=4", "RANK is not"),
        ("WORLD_SIZE=four RANK=0", "WORLD_SIZE of torchrun"),
        (
            "WORLD_SIZE=4 RANK=0 MASTER_PORT=70000",
            "MASTER_PORT of torchrun",
        ),
        (
            "SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2",
            "SLURM_PROCID is not",
        ),
        (
            "SLURM_STEP_ID=0 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=0",
            "SLURM_PROCID of srun is 0",
        ),
    ] {
        let message = refused(variables);
        assert!(message.contains(named), "{variables}: {message}");
    }
    // A common name that means something else here.
    assert_eq!(read("WORLD_SIZE=1").unwrap(), None);
}

#[test]
fn a_program_that_cannot_exchange_refuses_to_train_several_times() {
    let features = |mpi, cuda| Features { mpi, cuda };
    let engine = |variables: &str, features, gpu| {
        let launch = read(variables).unwrap().unwrap();
        launch.engine(features, gpu).map_err(|why| why.to_string())
    };
    for variables in [OPEN_MPI, MPICH, SRUN] {
        assert_eq!(
            engine(variables, features(true, false), false),
            Ok(Engine::Mpi)
        );
        assert_eq!(
            engine(variables, features(true, true), true),
            Ok(Engine::Mpi)
        );
        let refused = engine(variables, features(false, true), true).unwrap_err();
        assert!(refused.contains("--features mpi"), "{refused}");
    }
    assert!(
        engine(OPEN_MPI, features(false, false), false)
            .unwrap_err()
            .starts_with("this is rank 3 of 4 that mpirun has started (OMPI_COMM_WORLD_SIZE = 4)")
    );
    assert_eq!(
        engine(TORCHRUN, features(false, true), true),
        Ok(Engine::Nccl)
    );
    let cpu = engine(TORCHRUN, features(true, true), false).unwrap_err();
    assert!(cpu.contains("CPU ranks need mpirun or srun"), "{cpu}");
    let none = engine(TORCHRUN, features(true, false), false).unwrap_err();
    assert!(none.contains("--features cuda"), "{none}");
    // One process needs nothing.
    let alone = "OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1";
    assert_eq!(
        engine(alone, features(false, false), false),
        Ok(Engine::Solo)
    );
}
