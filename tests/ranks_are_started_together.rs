//! A process that a launcher has started as one of several trains together with the others, or fails.

mod common;

use common::{Place, texts};

/// Runs `heirloom train` with launchers' environment variables.
fn train(place: &Place, args: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let args = [&["train", "tiny", "--threads", "1"], args].concat();
    let mut command = place.heirloom(&args);
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let (_, err) = texts(&output);
    (output.status.code().unwrap(), err)
}

#[test]
#[cfg(not(feature = "mpi"))]
fn a_program_without_mpi_does_not_train_several_times() {
    let place = Place::new();
    let launched = [
        &[("OMPI_COMM_WORLD_SIZE", "2"), ("OMPI_COMM_WORLD_RANK", "1")][..],
        &[("PMI_SIZE", "2"), ("PMI_RANK", "0")],
        &[
            ("SLURM_STEP_ID", "0"),
            ("SLURM_NTASKS", "2"),
            ("SLURM_PROCID", "0"),
        ],
    ];
    for variables in launched {
        let (code, err) = train(&place, &[], variables);
        assert_eq!(code, 2, "{variables:?}: {err}");
        assert!(
            err.contains("is built without MPI") && err.contains("--features mpi"),
            "{err}"
        );
    }
    assert!(!place.path().join("runs").exists());
}

#[test]
#[cfg(not(feature = "cuda"))]
fn torchrun_needs_gpus() {
    let variables = [
        ("WORLD_SIZE", "2"),
        ("RANK", "1"),
        ("MASTER_ADDR", "localhost"),
    ];
    let (code, err) = train(&Place::new(), &[], &variables);
    assert_eq!(code, 2);
    assert!(err.contains("CPU ranks need mpirun or srun"), "{err}");
}

#[test]
#[cfg(not(feature = "cuda"))]
fn ranks_of_gpus_are_refused_without_them() {
    let place = Place::new();
    let launched = [("OMPI_COMM_WORLD_SIZE", "2"), ("OMPI_COMM_WORLD_RANK", "1")];
    for (args, variables, named) in [
        (
            &["--gpus", "2"][..],
            &[][..],
            "CPU ranks need mpirun or srun",
        ),
        (
            &["--gpus", "2", "--device", "cpu"],
            &[],
            "CPU ranks need mpirun or srun",
        ),
        (&["--gpus", "0"], &[], "at least one GPU"),
        (
            &["--gpus", "2", "--device", "cuda:1"],
            &[],
            "CUDA_VISIBLE_DEVICES",
        ),
        (&["--gpus", "2", "-d"], &[], "heirloom attach"),
        (&["--gpus", "2"], &launched, "mpirun has started 2 already"),
    ] {
        let (code, err) = train(&place, args, variables);
        assert_eq!(code, 2, "{args:?}: {err}");
        assert!(
            err.contains("--gpus") && err.contains(named),
            "{args:?}: {err}"
        );
    }
    assert!(!place.path().join("runs").exists());
}

#[test]
fn variables_that_cannot_be_used_are_named() {
    let place = Place::new();
    let bad = [("PMI_SIZE", "two"), ("PMI_RANK", "0")];
    let (code, err) = train(&place, &[], &bad);
    assert_eq!(code, 2);
    assert!(
        err.contains("PMI_SIZE") && err.contains("got \"two\""),
        "{err}"
    );
    let (code, err) = train(&place, &[], &[("WORLD_SIZE", "4")]);
    assert_eq!(code, 2);
    assert!(
        err.contains("WORLD_SIZE is set") && err.contains("RANK is not"),
        "{err}"
    );
}

#[test]
fn a_launched_process_does_not_go_into_the_background() {
    let alone = [("OMPI_COMM_WORLD_SIZE", "1"), ("OMPI_COMM_WORLD_RANK", "0")];
    let (code, err) = train(&Place::new(), &["-d"], &alone);
    assert_eq!(code, 2);
    assert!(err.contains("heirloom attach"), "{err}");
}

/// A batch script's process trains alone, although its job has several tasks.
#[test]
fn a_batch_script_trains_alone() {
    let place = Place::new();
    let batch = [
        ("SLURM_JOB_ID", "7"),
        ("SLURM_NTASKS", "4"),
        ("SLURM_PROCID", "0"),
        ("OMPI_COMM_WORLD_SIZE", "1"),
        ("OMPI_COMM_WORLD_RANK", "0"),
    ];
    for variables in [&batch[..3], &batch] {
        let (code, err) = train(&place, &["--dry-run"], variables);
        assert_eq!(code, 0, "{err}");
    }
}
