//! Runs CUDA kernels on the CPU, with a fiber for each thread of the GPU (`fixtures/cuda`, `scripts/cuda/emulate`), and compares
//! their results with their definitions. This tests indices, masks and barriers, but not the GPU's own instructions.

use std::path::Path;
use std::process::Command;

/// Compiles a program of `fixtures/cuda`, which includes a file of kernels, and runs it.
fn check(program: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixtures = root.join("tests/fixtures/cuda");
    let emulate = root.join("scripts/cuda/emulate");
    let dir = tempfile::tempdir().unwrap();
    let built = dir.path().join(program);
    let done = Command::new("c++")
        .args([
            "-std=c++17",
            "-O1",
            "-fno-strict-aliasing",
            "-fno-extern-tls-init",
            "-w",
            "-I",
        ])
        .arg(&emulate)
        .arg("-I")
        .arg(root.join("src/ops/cuda/kernels"))
        .arg("-o")
        .arg(&built)
        .arg(fixtures.join(program).with_extension("cpp"))
        .arg(emulate.join("block.cpp"))
        .arg("-lpthread")
        .output();
    let done = match done {
        Ok(done) => done,
        Err(error) => {
            eprintln!("skipped: no C++ compiler ({error})");
            return;
        }
    };
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let out = Command::new(&built).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}");
    assert!(said.lines().count() > 1, "nothing was checked: {said:?}");
}

#[test]
fn cross_entropy_and_its_gradients() {
    check("head");
}
