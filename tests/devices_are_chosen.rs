//! `--device` chooses an available device, and reports why a requested GPU cannot be used. On a machine without a driver, a
//! library with the same interface (`fixtures/driver.c`) takes its place.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Place, texts};

/// Builds the stand-in driver in `dir`.
fn driver(dir: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/driver.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(dir.join("libcuda.so.1"))
        .arg(source)
        .status()
        .expect("the C compiler that Rust links with");
    assert!(built.success());
}

#[test]
fn a_gpu_that_cannot_be_had_is_an_error_that_says_why() {
    let place = Place::new();
    driver(place.path());
    let mismatch = "the NVIDIA driver reports CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (error 803): its library and its \
     kernel module differ";
    for (device, answers, hidden, what) in [
        (
            "cuda",
            "11080 0 1 0",
            "",
            "it supports CUDA 11.8, and the oldest cuBLAS that this program computes with needs 12.0 (driver 525",
        ),
        ("cuda", "13000 803 1 0", "", mismatch),
        ("cuda", "13000 100 1 0", "", "finds no GPU"),
        (
            "cuda",
            "13000 0 0 0",
            "-1",
            "finds no GPU (CUDA_VISIBLE_DEVICES is \"-1\")",
        ),
        (
            "cuda:1",
            "13000 0 1 0",
            "",
            "this machine has one GPU, counted from cuda:0",
        ),
        (
            "cuda:9",
            "13010 0 8 0",
            "",
            "this machine has 8 GPUs, counted from cuda:0",
        ),
        (
            "cuda:2",
            "13000 0 3 2",
            "",
            "Test GPU 2 takes no work: its compute mode is \"prohibited\"",
        ),
        (
            "cuda",
            "12040 0 1 0 75",
            "",
            "Test GPU 0 cannot be used: its compute capability is 7.5, and the kernels need 8.0",
        ),
        (
            "cuda",
            "12000 0 1 0 80",
            "",
            "Test GPU 0 is there, but this program was built without the feature `cuda`",
        ),
        (
            "cuda:1",
            "13000 0 2 0 121",
            "",
            "Test GPU 1 is there, but this program was built without the feature `cuda`",
        ),
    ] {
        for extra in [&[][..], &["--dry-run"]] {
            let mut command = place.heirloom(&["train", "mini.toml", "--device", device]);
            command.args(extra).env("LD_LIBRARY_PATH", place.path());
            command.env("DRIVER", answers);
            match hidden {
                "" => command.env_remove("CUDA_VISIBLE_DEVICES"),
                hidden => command.env("CUDA_VISIBLE_DEVICES", hidden),
            };
            let out = command.output().unwrap();
            let (_, err) = texts(&out);
            assert_eq!(out.status.code(), Some(2), "{answers}: {err}");
            assert!(err.contains(what), "{answers}: {err}");
            assert!(err.contains("--device cuda:"), "{answers}: {err}");
        }
    }
    assert!(!place.path().join("runs").exists(), "nothing was begun");
}

#[test]
fn no_driver_is_told_of() {
    let place = Place::new();
    // A file of that name that cannot be loaded, like a driver for another architecture.
    std::fs::write(place.path().join("libcuda.so.1"), "no library").unwrap();
    let out = place
        .heirloom(&["train", "mini.toml", "--device", "cuda"])
        .env("LD_LIBRARY_PATH", place.path())
        .output()
        .unwrap();
    let (_, err) = texts(&out);
    assert_eq!(out.status.code(), Some(2), "{err}");
    assert!(
        err.contains("--device cuda:0: no NVIDIA driver was found (")
            && err.contains("libcuda.so.1"),
        "{err}"
    );
}

#[test]
fn the_cpu_needs_no_driver() {
    let place = Place::new();
    for device in ["auto", "cpu"] {
        let out = place
            .heirloom(&["train", "mini.toml", "--dry-run", "--device", device])
            .env("LD_LIBRARY_PATH", place.path())
            .output()
            .unwrap();
        assert_eq!(out.status.code(), Some(0), "{}", texts(&out).1);
    }
    let out = place.run(&["train", "mini.toml", "--device", "gpu"]);
    let (_, err) = texts(&out);
    assert_eq!(out.status.code(), Some(2), "{err}");
    assert!(err.contains("use auto, cpu, cuda or cuda:N"), "{err}");
}

/// Other commands have the same option, and print the same message.
#[test]
fn a_bench_and_a_selftest_say_why_there_is_no_gpu() {
    let place = Place::new();
    driver(place.path());
    for command in [
        &["selftest", "--device", "cuda"][..],
        &["bench", "train", "--device", "cuda"],
    ] {
        let out = place
            .heirloom(command)
            .env("LD_LIBRARY_PATH", place.path())
            .env("DRIVER", "11080 0 1 0")
            .output()
            .unwrap();
        let (_, err) = texts(&out);
        assert_eq!(out.status.code(), Some(2), "{err}");
        assert!(
            err.contains("it supports CUDA 11.8, and the oldest cuBLAS that this program computes with needs 12.0 (driver 525"),
            "{err}"
        );
    }
    let out = place.run(&["bench", "train", "--preset", "gpt2-124m", "--layers", "2"]);
    assert_eq!(out.status.code(), Some(2), "{}", texts(&out).1);
}
